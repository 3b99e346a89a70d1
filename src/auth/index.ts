/**
 * Room `auth`: whom a token speaks for, and which rights were taken from a user. It refuses to know sockets, and what a
 * user may do.
 */
export type { AuthQuestion, AuthRequest, Credentials } from './credentials.ts'
export {
  userFields,
  identify,
  concerns,
  type CheckCredentials,
  type Identity,
  type Revocation,
  revocationShape,
} from './identity.ts'
export { FailedChecks, FailedCheck } from './failed-checks.ts'
export { createTokenAuthenticator } from './authenticate.ts'
export { signToken } from './sign-token.ts'
export { authShape, type TokenAuthenticatorOptions } from './token-options.ts'
export { revocations, RevocationFeed } from './revocation-feed.ts'

import { LockstepError, type Logger } from '../core/index.ts'
import {
  createTokenAuthenticator,
  type CheckCredentials,
  type Credentials,
  type Identity,
} from '../auth/index.ts'
import type { LockstepOptions } from './options.ts'

/** The option `auth` as a check of credentials. Without the option none are good. */
export function toAuthenticator(auth: LockstepOptions<never>['auth'], logger: Logger): CheckCredentials {
  if (typeof auth === 'function') return (credentials) => askOwn(auth, credentials)
  if (auth !== undefined) {
    const check = createTokenAuthenticator({ logger, ...auth })
    return ({ token }) => check(token)
  }
  return () =>
    Promise.reject(
      new LockstepError('LS_UNAUTHENTICATED', {
        message: 'No connection is accepted: give createLockstep the option auth.',
      }),
    )
}

const noRequest = { headers: {}, url: '' }

async function askOwn(
  auth: Extract<LockstepOptions<never>['auth'], (...given: never[]) => unknown>,
  { token, request = noRequest }: Credentials,
): Promise<Identity> {
  const identity = await auth({ token: token === '' ? undefined : token, request })
  if (identity === undefined) throw new LockstepError('LS_UNAUTHENTICATED')
  return identity
}

import { LockstepError, type Logger } from '../core/index.ts'
import { createTokenAuthenticator, type CheckToken, type Identity } from '../auth/index.ts'
import type { LockstepOptions } from './options.ts'

/** The option `auth` as the check of a token. Without the option no token is good. */
export function toAuthenticator(auth: LockstepOptions<never>['auth'], logger: Logger): CheckToken {
  if (typeof auth === 'function') return (token) => askOwn(auth, token)
  if (auth !== undefined) return createTokenAuthenticator({ logger, ...auth })
  return () =>
    Promise.reject(
      new LockstepError('LS_UNAUTHENTICATED', {
        message: 'No connection is accepted: give createLockstep the option auth.',
      }),
    )
}

async function askOwn(
  auth: Extract<LockstepOptions<never>['auth'], (...given: never[]) => unknown>,
  token: string,
): Promise<Identity> {
  const identity = await auth({ token })
  if (identity === undefined) throw new LockstepError('LS_UNAUTHENTICATED')
  return identity
}

import { assertUserId, isLockstepError, LockstepError, type UserContext } from '../core/index.ts'
import { FailedCheck } from './failed-checks.ts'
import { isOutage } from './outage.ts'
import type { Identity } from './ports.ts'
import type { SessionContext } from './session-context.ts'

/** The rights taken from a user: one channel, one session, or everything. */
export interface Revocation {
  readonly user: string
  /** Only this channel; the connections stay. */
  readonly channel?: string
  /** Only the connections of this session (`user.sessionId`, from the claim `sid`). */
  readonly session?: string
}

export function concerns(revocation: Revocation, user: UserContext): boolean {
  const { session } = revocation
  return revocation.user === user.id && (session === undefined || session === user.sessionId)
}

/**
 * Whom a token speaks for, as everything behind the gateway may rely on it: the user is frozen, and has an id that
 * names one channel, whatever an application's own check has returned.
 * @throws errors of the catalogue, and those of an outage, as the port threw them; FailedCheck for others; LS_USER_ID_INVALID; LS_UNAUTHENTICATED for one that has expired
 */
export async function authenticate(
  token: string,
  { ports, settings }: Pick<SessionContext, 'ports' | 'settings'>,
): Promise<Identity> {
  const identity = await ask(token, ports)
  const { user, expiresAt } = identity
  if (expiresAt !== undefined && expiresAt <= settings.clock.now()) {
    throw new LockstepError('LS_UNAUTHENTICATED', { details: { expired: true } })
  }
  return Object.isFrozen(user) ? identity : { ...identity, user: Object.freeze({ ...user }) }
}

async function ask(token: string, ports: SessionContext['ports']): Promise<Identity> {
  try {
    const identity = await ports.authenticate(token)
    assertUserId(identity.user.id)
    return identity
  } catch (error) {
    if (isLockstepError(error) || isOutage(error)) throw error
    throw new FailedCheck(error)
  }
}

/** Whose doing it was, as fields of a log line; none while that is not known. */
export function userFields(user: UserContext | undefined): Readonly<Record<string, string>> {
  if (user === undefined) return {}
  const { id, sessionId, tenant } = user
  return {
    userId: id,
    ...(sessionId === undefined ? {} : { sessionId }),
    ...(tenant === undefined ? {} : { tenant }),
  }
}

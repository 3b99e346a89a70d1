import {
  anything,
  assertUserId,
  aText,
  describeKind,
  isLockstepError,
  isUserLike,
  LockstepError,
  peek,
  type Clock,
  type Shape,
  userTexts,
  type UserContext,
} from '../core/index.ts'
import type { Credentials } from './credentials.ts'
import { FailedCheck } from './failed-checks.ts'
import { isOutage } from './outage.ts'

/** The user that a connection speaks for, and until when. */
export interface Identity<User extends UserContext = UserContext> {
  readonly user: User
  /** Milliseconds since the epoch; absent when it does not expire. */
  readonly expiresAt?: number
}

/** Tells whom credentials speak for. @throws where they speak for nobody, or it cannot tell */
export type CheckCredentials = (credentials: Credentials) => Promise<Identity>

/** The rights taken from a user: one channel, one session, or everything. */
export interface Revocation {
  readonly user: string
  /** Channel to revoke; the connections stay. Absent: all channels. */
  readonly channel?: string
  /** Session whose connections are closed (`user.sessionId`, from the claim `sid`). Absent: every session. */
  readonly session?: string
}

export const revocationShape: Shape<Revocation> = {
  // Has an error of its own.
  user: anything,
  channel: {
    ...aText,
    advice: (value) => (typeof peek(value, 'name') === 'string' ? 'Write channel.name.' : undefined),
  },
  session: {
    expected: "a session's id, as the claim sid has it",
    fits: (value) => typeof value === 'string' && value !== '',
    advice: () => 'Leave it out to take all sessions.',
  },
}

export function concerns(revocation: Revocation, user: UserContext): boolean {
  const { session } = revocation
  return revocation.user === user.id && (session === undefined || session === user.sessionId)
}

/**
 * Identifies the user that credentials speak for. Code behind the gateway relies on the answer: the user is frozen, and
 * the user's id names one channel, whatever the application's own check has returned.
 * @throws errors of the catalogue, and those of an outage, as `check` threw them; FailedCheck for others; LS_USER_ID_INVALID; LS_UNAUTHENTICATED for one that has expired
 */
export async function identify(
  credentials: Credentials,
  check: CheckCredentials,
  clock: Clock,
): Promise<Identity> {
  const identity = await ask(credentials, check)
  const { user, expiresAt } = identity
  if (expiresAt !== undefined && expiresAt <= clock.now()) {
    throw new LockstepError('LS_UNAUTHENTICATED', { details: { expired: true } })
  }
  return Object.isFrozen(user) ? identity : { ...identity, user: Object.freeze({ ...user }) }
}

async function ask(credentials: Credentials, check: CheckCredentials): Promise<Identity> {
  try {
    const identity: unknown = await check(credentials)
    assertIdentity(identity)
    assertUserId(identity.user.id)
    return identity
  } catch (error) {
    if (error instanceof FailedCheck || isLockstepError(error) || isOutage(error)) throw error
    throw new FailedCheck(error)
  }
}

/** Checks the answer of an `auth` without types. @throws LS_CONFIG_INVALID */
function assertIdentity(identity: unknown): asserts identity is Identity {
  const user = peek(identity, 'user')
  const expiresAt = peek(identity, 'expiresAt')
  const wrong = userTexts.find((name) => !isTextOrAbsent(peek(user, name)))
  if (typeof user !== 'object' || !isUserLike(user)) {
    fail(identity, user === undefined ? '' : `, whose user is ${describeKind(user)}`)
  } else if (wrong !== undefined) {
    fail(identity, `, whose ${wrong} is ${describeKind(peek(user, wrong))} and must be a text, or absent`)
  } else if (expiresAt !== undefined && !(typeof expiresAt === 'number' && !Number.isNaN(expiresAt))) {
    fail(
      identity,
      `, whose expiresAt is ${describeKind(expiresAt)} and must be milliseconds since 1970, or absent`,
    )
  }
}

const isTextOrAbsent = (value: unknown): boolean => value === undefined || typeof value === 'string'

function fail(identity: unknown, how: string): never {
  throw new FailedCheck(
    new LockstepError('LS_CONFIG_INVALID', {
      message: `auth answers with { user: { id } }, and answered with ${describeKind(identity)}${how}.`,
    }),
  )
}

/** The user concerned, as fields of a log line; none while the user is not known. */
export function userFields(user: UserContext | undefined): Readonly<Record<string, string>> {
  if (user === undefined) return {}
  const { id, sessionId, tenant } = user
  return {
    userId: id,
    ...(sessionId === undefined ? {} : { sessionId }),
    ...(tenant === undefined ? {} : { tenant }),
  }
}

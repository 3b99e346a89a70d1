import { mutationPoint } from '../protocol/mutation-point.ts'
import { v7 } from 'uuid'
import { limits } from '../protocol/index.ts'
import { LockstepError } from './errors.ts'
import { describeGiven } from './given.ts'
import { peek } from './thrown.ts'

/** The user who asks for something. One frozen object, passed on explicitly and never kept globally. */
export interface UserContext {
  readonly id: string
  readonly sessionId?: string
  readonly tenant?: string
  readonly requestId?: string
}

/** The facts of a user beside the id, where there are any. */
export const userTexts = [
  'tenant',
  'sessionId',
  'requestId',
] as const satisfies readonly (keyof UserContext)[]

const uuidPattern = /^[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/
// Ids that identity providers issue: a UUID, `auth0|123`, `did:plc:…`, an e-mail address, a URL, a distinguished name.
// ASCII only, so that no two ids can be folded into one by case rules of Unicode or by normalisation; no blank at an
// end.
const userIdPattern = /^[!-~](?:[ -~]*[!-~])?$/
// Tenants stand in the names of channels, as one parameter.
const tenantPattern = /^[A-Za-z0-9._~@|=+-]+$/

/** Mark of the user of the server. A spread copies it, and JSON does not. */
const serverMark = Symbol('lockstep.serverUser')

/**
 * The user of what no person asked for: jobs, and Lockstep's own operations. Only code on the server can name it, by this
 * object or a spread of it, such as `{ ...serverUser, tenant: 'acme' }`: no token and no `auth` can speak for an id that
 * begins with `lockstep:`.
 */
export const serverUser: UserContext = Object.freeze({ id: 'lockstep:server', [serverMark]: true })

/** Whether a user is `serverUser`, with whatever fields an application has added. */
export function isServerUser(user: UserContext): boolean {
  return user.id === serverUser.id && peek(user, serverMark) === true
}

/** The user of a call on the server: an id alone is one where the application's users need nothing else. */
export type Caller<User extends UserContext> = User | ({ readonly id: string } extends User ? string : never)

const ownUsers = 'lockstep:'
const ownOperations = 'lockstep.'

/** Whether an operation is one of Lockstep's own, such as `lockstep.revoke`. */
export function isOwnOperation(name: string): boolean {
  return name.startsWith(ownOperations)
}

/** A new operation id: UUID version 7 (RFC 9562), so that ids made later sort later. */
export function newOperationId(): string {
  return v7({ ...nextPlace(), random: nextRandom() })
}

const randomBytes = 16
const pool = new Uint8Array(256 * randomBytes)
let used = pool.length

/** Takes random bytes from a pool: asking the system for each id costs more than the rest of it. */
function nextRandom(): Uint8Array {
  if (used === pool.length) {
    crypto.getRandomValues(pool)
    used = 0
  }
  return pool.subarray(used, (used += randomBytes))
}

const lastPlace = { msecs: 0, seq: 0 }
const mostSequence = 0x7f_ff_ff_ff

/** The time, and a place within its millisecond: ids of one process rise, also while its clock stands still or goes back. */
function nextPlace(): { readonly msecs: number; readonly seq: number } {
  const now = Date.now()
  if (now > lastPlace.msecs || lastPlace.seq === mostSequence) {
    lastPlace.msecs = Math.max(now, lastPlace.msecs + 1)
    // Half of the range is left for the ids that follow in the same millisecond.
    // Taken from the pool: a simulation that gives all other numbers of chance its own must not lose one with each millisecond.
    const [first = 0, second = 0, third = 0, fourth = 0] = nextRandom()
    lastPlace.seq = ((first & 0x3f) << 24) | (second << 16) | (third << 8) | fourth
  } else {
    lastPlace.seq += 1
  }
  return lastPlace
}

export function isOperationId(value: unknown): value is string {
  return typeof value === 'string' && uuidPattern.test(value)
}

/** @throws LS_OPERATION_ID_INVALID */
export function assertOperationId(value: unknown): asserts value is string {
  if (isOperationId(value)) return
  throw new LockstepError('LS_OPERATION_ID_INVALID', {
    message: `The operation id must be a UUID in lower case, and is ${describeGiven(value)}.`,
  })
}

/** Identity of an operation. An id belongs to its user: the same id of another user names another operation. */
export interface OperationRef {
  readonly id: string
  readonly userId: string
}

export function isSameOperation(one: OperationRef, other: OperationRef): boolean {
  return one.id === other.id && one.userId === other.userId
}

/**
 * Joins id and user into one key for maps. The id has a fixed length and stands first, so that no two pairs make one
 * text.
 */
export function operationKey({ id, userId }: OperationRef): string {
  return mutationPoint('operation known by its id alone') ? id : `${id} ${userId}`
}

export function isUserId(value: unknown): value is string {
  return (
    typeof value === 'string' &&
    value.length <= limits.maxUserIdBytes &&
    userIdPattern.test(value) &&
    !value.includes('..') &&
    !value.startsWith(ownUsers)
  )
}

/**
 * Refuses an id that is older than outcomes are kept: a copy that late could not be told from a new operation.
 * Only a version 7 UUID tells its age (RFC 9562, section 5.7: the first 48 bits are milliseconds since the epoch).
 * @throws LS_OPERATION_EXPIRED
 */
export function assertNotExpired(id: string, retentionMs: number, nowMs: number): void {
  if (isExpired(id, retentionMs, nowMs)) throw new LockstepError('LS_OPERATION_EXPIRED')
}

export function isExpired(id: string, retentionMs: number, nowMs: number): boolean {
  if (id[14] !== '7') return false
  const madeAt = Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16)
  return nowMs - madeAt > retentionMs
}

const longestName = 200

/**
 * The name of an operation that an application runs.
 * @throws LS_CONFIG_INVALID
 */
export function assertOperationName(name: unknown): asserts name is string {
  if (typeof name !== 'string' || name === '' || name.length > longestName || name.includes('\0')) {
    throw new LockstepError('LS_CONFIG_INVALID', {
      message:
        `The name of an operation is a text of 1 to ${longestName} characters without U+0000, which Postgres cannot ` +
        `store. Given: ${typeof name === 'string' ? JSON.stringify(name.slice(0, longestName)) : typeof name}.`,
    })
  }
  if (isOwnOperation(name)) {
    throw new LockstepError('LS_CONFIG_INVALID', {
      message: `"${name}": names that begin with "${ownOperations}" are Lockstep's own. Choose another.`,
    })
  }
}

export function isTenant(value: unknown): value is string {
  return isUserId(value) && tenantPattern.test(value)
}

/** Whether a value has the shape of a user, whatever its id is: an id by itself, or an object with one. */
export function isUserLike(value: unknown): boolean {
  return typeof value === 'string' || typeof peek(value, 'id') === 'string'
}

/** @throws LS_USER_ID_INVALID */
export function assertUserId(value: unknown): asserts value is string {
  if (isUserId(value)) return
  throw new LockstepError('LS_USER_ID_INVALID', {
    message:
      'A user id is visible ASCII with blanks only inside and no two dots in a row, at most ' +
      `${limits.maxUserIdBytes} bytes, and does not begin with "${ownUsers}". Given: ${describeGiven(value)}.`,
  })
}

/**
 * The channel that only this user may hear; notices go there. Its name is never parsed, so the id stands in it as it is,
 * with characters that no other channel's name may have.
 */
export function userChannel(userId: string): string {
  return `${ownChannels}${userId}`
}

const ownChannels = 'user:'

/** Whether a name is that of some user's own channel. */
export function isOwnChannel(name: string): boolean {
  return name.startsWith(ownChannels)
}

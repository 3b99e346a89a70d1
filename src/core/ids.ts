import { v7 } from 'uuid'
import { limits } from '../protocol/index.ts'
import { LockstepError } from './errors.ts'

/** The user who asks for something. One frozen object, passed on explicitly and never kept globally. */
export interface UserContext {
  readonly id: string
  readonly sessionId?: string
  readonly tenant?: string
  readonly requestId?: string
}

const uuidPattern = /^[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/
// What identity providers issue: a UUID, `auth0|123`, `did:plc:…`, an e-mail address, a URL, a distinguished name. ASCII
// only, so that no two ids can be folded into one by case rules of Unicode or by normalisation; no blank at an end.
const userIdPattern = /^[!-~](?:[ -~]*[!-~])?$/
// Tenants stand in the names of channels, as one parameter.
const tenantPattern = /^[A-Za-z0-9._~@|=+-]+$/

/**
 * The user of what no person asked for: jobs, and Lockstep's own operations. Only code on the server can name it, with
 * this very object: no token and no `auth` can speak for an id that begins with `lockstep:`.
 */
export const serverUser: UserContext = Object.freeze({ id: 'lockstep:server' })

const ownUsers = 'lockstep:'
const ownOperations = 'lockstep.'

/** Whether an operation is one of Lockstep's own, such as `lockstep.revoke`. */
export function isOwnOperation(name: string): boolean {
  return name.startsWith(ownOperations)
}

/** A new operation id: UUID version 7 (RFC 9562), so that ids made later sort later. */
export function newOperationId(): string {
  return v7()
}

export function isOperationId(value: unknown): value is string {
  return typeof value === 'string' && uuidPattern.test(value)
}

/** @throws LS_OPERATION_ID_INVALID */
export function assertOperationId(value: unknown): asserts value is string {
  if (!isOperationId(value)) throw new LockstepError('LS_OPERATION_ID_INVALID')
}

/** What names an operation. An id belongs to its user: the same one of another user names another operation. */
export interface OperationRef {
  readonly id: string
  readonly userId: string
}

export function isSameOperation(one: OperationRef, other: OperationRef): boolean {
  return one.id === other.id && one.userId === other.userId
}

/** One text for both, for maps. The id, which has one length, stands first, so that no two pairs make one text. */
export function operationKey({ id, userId }: OperationRef): string {
  return `${id} ${userId}`
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
  if (id[14] !== '7') return
  const madeAt = Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16)
  if (nowMs - madeAt > retentionMs) throw new LockstepError('LS_OPERATION_EXPIRED')
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

/** @throws LS_USER_ID_INVALID */
export function assertUserId(value: unknown): asserts value is string {
  if (!isUserId(value)) throw new LockstepError('LS_USER_ID_INVALID')
}

/**
 * The channel that only this user may hear; notices go there. Its name is never parsed, so the id stands in it as it is,
 * with characters that no other channel's name may have.
 */
export function userChannel(userId: string): string {
  return `user:${userId}`
}

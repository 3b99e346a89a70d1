import { errorCatalogue, isLockstepError, type ErrorCode, type LockstepError } from '../../core/index.ts'
import type { InvalidCommand } from './commands.ts'
import { publicationOf } from './publications.ts'
import type { Joined } from '../../feeds/index.ts'
import {
  replyCodes,
  retryHint,
  temporaryReplyCodes,
  type RecoveryRequest,
  type ReplyCode,
} from '../../protocol/index.ts'

/** How a join ended, as far as a reply tells it. */
export type Recovered = Pick<Joined, 'kind' | 'position' | 'missed' | 'ongoing'>

/** Text of the server's ping and of the client's pong. */
export const pingFrame = '{}'

/** The reply to a command that is refused for a reason of the gateway's own, in the public words of the catalogue. */
export function refusalReply(id: number, code: ErrorCode): string {
  const { reply: number, publicMessage } = errorCatalogue[code]
  return errorReply(id, number, `${code}: ${publicMessage}`)
}

/** The reply to a call of a method that is not declared; `nearest` is the declared one that it is likely to mean. */
export function methodUnknownReply(id: number, method: string, nearest: string | undefined): string {
  const named = method.length > longestNamed ? `${method.slice(0, longestNamed)}…` : method
  const meant = nearest === undefined ? '' : ` Did you mean "${nearest}"?`
  const text = `LS_METHOD_UNKNOWN: There is no operation or query "${named}".${meant}`
  return errorReply(id, replyCodes.methodNotFound, text)
}

/** Characters of a method's name that a reply repeats. */
const longestNamed = 64

export function errorReply(id: number, code: ReplyCode, message: string, retryAfterMs?: number): string {
  const temporary = temporaryReplyCodes.has(code) ? ',"temporary":true' : ''
  const after = retryAfterMs === undefined ? '' : `,"retryAfterMs":${retryAfterMs}`
  return `{"id":${id},"error":{"code":${code},"message":${JSON.stringify(message)}${temporary}${after}}}`
}

/** Text of the reply to a command that does not follow the protocol. */
export function requestInvalid(reason: string): string {
  return `LS_REQUEST_INVALID: ${reason}`
}

/** The reply to a command that was read, and cannot be carried out. */
export function invalidReply({ id, reason, isBeyondBounds }: InvalidCommand): string {
  return isBeyondBounds
    ? errorReply(id, replyCodes.inputInvalid, `LS_INPUT_INVALID: ${reason}`)
    : errorReply(id, replyCodes.badRequest, requestInvalid(reason))
}

/** Errors whose own text is made for the caller: it names what the caller has sent, and rules of a schema. */
const toldInFull: ReadonlySet<ErrorCode> = new Set(['LS_INPUT_INVALID', 'LS_TASK_INTERNAL'])

/** The reply to a command that raised an error of the catalogue. Never shows more than public text. */
export function catalogueReply(id: number, error: LockstepError): string {
  const shown = toldInFull.has(error.code) ? error.message : error.publicMessage
  const { reply: code } = errorCatalogue[error.code]
  const { retryAfterMs } = error.details
  if (typeof retryAfterMs !== 'number') return errorReply(id, code, `${error.code}: ${shown}`)
  // SDKs hand on the text, and no other field than those of the protocol.
  return errorReply(id, code, `${error.code}: ${shown} ${retryHint(retryAfterMs)}`, retryAfterMs)
}

/** `requestId` is what the operator finds the raw error under. */
export function internalReply(id: number, requestId: string): string {
  return errorReply(id, replyCodes.internal, `LS_INTERNAL: The server failed, request ${requestId}`)
}

/** The error as a client may see it; anything outside the catalogue becomes `internal`. */
export function failureReply(id: number, error: unknown, requestId: string): string {
  return isLockstepError(error) ? catalogueReply(id, error) : internalReply(id, requestId)
}

/** `body` is JSON text. */
export function reply(id: number, name: string, body = '{}'): string {
  return `{"id":${id},"${name}":${body}}`
}

/** The protocol's `ttl` is a 32 bit number. */
const maxTtlSeconds = 2 ** 31 - 1

/** Fields of a ConnectResult or RefreshResult, as JSON text. */
export function identityFields(client: string, version: string, expiresInMs: number): string {
  const common = `"client":"${client}","version":${JSON.stringify(version)}`
  if (expiresInMs === Infinity) return common
  const ttl = Math.min(maxTtlSeconds, Math.max(1, Math.floor(expiresInMs / 1_000)))
  return `${common},"expires":true,"ttl":${ttl}`
}

/**
 * JSON text of a SubscribeResult. After a recovery its offset is the one that was asked for, and the client
 * walks forward over the publications; otherwise it is the top.
 */
export function subscribeResult(joined: Recovered, asked: RecoveryRequest): string {
  const epoch = JSON.stringify(joined.position.epoch)
  const data = joined.ongoing === undefined ? '' : `,"data":${joined.ongoing}`
  const head = `{"recoverable":true,"positioned":true,"epoch":${epoch}${data}`
  const recovering = asked.recover === true ? ',"was_recovering":true' : ''
  if (joined.kind !== 'recovered') return `${head}${offsetField(joined.position.offset)}${recovering}}`
  const offset = offsetField(asked.offset ?? 0)
  return `${head}${offset}${recovering},"recovered":true${publicationsField(joined)}}`
}

function offsetField(offset: number): string {
  return offset === 0 ? '' : `,"offset":${offset}`
}

function publicationsField(joined: Recovered): string {
  if (joined.missed.length === 0) return ''
  return `,"publications":[${joined.missed.map((event) => publicationOf(event).publication).join(',')}]`
}

export function unsubscribePush(channel: string, code: number, reason: string): string {
  return `{"push":{"channel":${JSON.stringify(channel)},"unsubscribe":{"code":${code},"reason":"${reason}"}}}`
}

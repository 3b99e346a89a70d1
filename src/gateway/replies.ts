import { errorCatalogue, isLockstepError, type LockstepError } from '../core/index.ts'
import type { InvalidCommand } from './commands.ts'
import type { Joined } from '../events/subscription.ts'
import {
  replyCodes,
  retryHint,
  temporaryReplyCodes,
  type RecoveryRequest,
  type ReplyCode,
} from '../protocol/index.ts'

/** How a join ended, as far as a reply tells it. */
export type Recovered = Pick<Joined, 'kind' | 'position' | 'missed'>

/** What the server's ping and the client's pong look like. */
export const pingFrame = '{}'

const plainMessages: Readonly<Record<ReplyCode, string>> = {
  100: 'internal error',
  101: 'unauthorized',
  102: 'unknown channel',
  103: 'permission denied',
  104: 'method not found',
  105: 'already subscribed',
  106: 'limit exceeded',
  107: 'bad request',
  108: 'not available',
  109: 'token expired',
  111: 'too many requests',
  112: 'unrecoverable position',
  400: 'input invalid',
  401: 'operation id invalid',
  402: 'operation id reused',
  403: 'forbidden',
  404: 'outcome pending',
  405: 'node stopping',
  406: 'operation expired',
  407: 'token not yet valid',
}

export function errorReply(
  id: number,
  code: ReplyCode,
  message: string = plainMessages[code],
  retryAfterMs?: number,
): string {
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

/** The reply to a command that raised an error of the catalogue. Never shows more than public text. */
export function catalogueReply(id: number, error: LockstepError): string {
  // The text of an input error names paths and rules of a schema, made for the caller to read.
  const shown = error.code === 'LS_INPUT_INVALID' ? error.message : error.publicMessage
  const { reply: code } = errorCatalogue[error.code]
  const { retryAfterMs } = error.details
  if (typeof retryAfterMs !== 'number') return errorReply(id, code, `${error.code}: ${shown}`)
  // SDKs hand on the text, and no other field than those of the protocol.
  return errorReply(id, code, `${error.code}: ${shown} ${retryHint(retryAfterMs)}`, retryAfterMs)
}

/** `requestId` is what the operator finds the raw error under. */
export function internalReply(id: number, requestId: string): string {
  return errorReply(id, replyCodes.internal, `internal error, request ${requestId}`)
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
  const head = `{"recoverable":true,"positioned":true,"epoch":${epoch}`
  const recovering = asked.recover === true ? ',"was_recovering":true' : ''
  if (joined.kind !== 'recovered') return `${head}${offsetField(joined.position.offset)}${recovering}}`
  const offset = offsetField(asked.offset ?? 0)
  return `${head}${offset}${recovering},"recovered":true${publicationsField(joined)}}`
}

/** Bytes that a recovery would send, about. */
export function recoveryBytes(joined: Recovered): number {
  let bytes = 0
  for (const event of joined.missed) bytes += Buffer.byteLength(event.publication) + 1
  return bytes
}

function offsetField(offset: number): string {
  return offset === 0 ? '' : `,"offset":${offset}`
}

function publicationsField(joined: Recovered): string {
  if (joined.missed.length === 0) return ''
  return `,"publications":[${joined.missed.map((event) => event.publication).join(',')}]`
}

export function unsubscribePush(channel: string, code: number, reason: string): string {
  return `{"push":{"channel":${JSON.stringify(channel)},"unsubscribe":{"code":${code},"reason":"${reason}"}}}`
}

import {
  type Committed,
  type NeverReceived,
  type PlainRefusal,
  type RolledBack,
  inputInvalidCode,
  internalCode,
  limitExceededCode,
  maxMessageBytes,
  nodeStoppingCode,
  operationIdInvalidCode,
  outcomePendingCode,
  tooManyRequestsCode,
} from '../protocol/index.ts'
import { fromWireError, type LockstepClientError, type WireError } from './errors.ts'
import { isOperationId } from './operation-id.ts'

/** End of an operation. `never_received`: it had no effect and never will; call again with a new id if wanted. */
export type FinalOutcome<Result = unknown, Refused = PlainRefusal> =
  Committed<Result> | RolledBack<Refused> | NeverReceived

/**
 * - `queued`: not accepted by a server yet; it is sent on the next occasion.
 * - `sent`: the reply is awaited.
 * - `unknown`: the reply was lost; the server is asked for the outcome.
 */
export type OperationState = 'queued' | 'sent' | 'unknown'

/** An operation without an outcome, as it was when the snapshot was taken. */
export interface PendingOperation {
  readonly id: string
  readonly name: string
  readonly input: unknown
  /** Milliseconds since the epoch, by this device's clock. */
  readonly startedAt: number
  readonly state: OperationState
}

export interface CallOptions {
  /** The operation's id, a UUID in lower case. Calling again with an id that is pending joins that call. */
  readonly id?: string
  /** Withdraws the operation while it is queued. Once it was sent its outcome is reported all the same. */
  readonly signal?: AbortSignal
}

/** Call of an operation. */
export interface Call<Result = unknown, Refused = PlainRefusal> {
  readonly id: string
  /**
   * Settles once the outcome is known, which may take a reconnect. Resolves for every outcome; rejects with a
   * `LockstepClientError` when the operation was not accepted, so had no effect; when the server refuses to tell
   * its outcome; when the client was closed; or when there is no connection, for `waitForConnectionMs` or for good:
   * with LS_CLIENT_OUTCOME_UNKNOWN where it may have arrived, and without effect otherwise.
   */
  readonly outcome: Promise<FinalOutcome<Result, Refused>>
  /**
   * The result of an operation that committed. Rejects with a `RolledBackError` where it was rolled back, with
   * LS_CLIENT_NEVER_RECEIVED where it had no effect and never will, and as `outcome` does.
   */
  readonly result: Promise<Result>
}

/** Reading of an error reply: whether the operation was accepted. */
export type Acceptance = 'not_accepted' | 'try_again' | 'unknown'

const unknownCodes: ReadonlySet<number> = new Set([internalCode, outcomePendingCode])

export function acceptanceOf(error: WireError): Acceptance {
  // Codes below 100 are errors of the connection: the operation may have arrived or not.
  if (error.code < 100 || unknownCodes.has(error.code)) return 'unknown'
  const refused = error.code === tooManyRequestsCode || error.code === nodeStoppingCode
  return refused || error.temporary ? 'try_again' : 'not_accepted'
}

/** Tells whether the server could not make the outcome durable yet: it is true, but the final answer is still to come. */
export function isFromMemory(outcome: FinalOutcome): boolean {
  return outcome.outcome === 'rolled_back' && outcome.notice.transient === true
}

const finalOutcomes: ReadonlySet<unknown> = new Set(['committed', 'rolled_back', 'never_received'])

/** The answer, when it has the shape of one that is final. */
export function asFinal(answer: unknown): FinalOutcome | undefined {
  const { outcome, operationId } = Object(answer) as { outcome?: unknown; operationId?: unknown }
  const isFinal = typeof operationId === 'string' && finalOutcomes.has(outcome)
  return isFinal ? (answer as FinalOutcome) : undefined
}

/** Room in one message for what stands around the input. */
const envelopeBytes = 512

/** @throws LS_OPERATION_ID_INVALID */
export function assertOperationId(id: string): void {
  if (!isOperationId(id))
    throw refusal(
      operationIdInvalidCode,
      'LS_OPERATION_ID_INVALID: The operation id must be a UUID in lower case.',
    )
}

/**
 * Bytes of an input that can be sent. Sent anyway, another one would end the connection and every call on it.
 * @throws LS_INPUT_INVALID, LS_MESSAGE_TOO_LARGE
 */
export function sendableBytes(input: unknown): number {
  let bytes: number
  try {
    bytes = bytesOf(input, refuseLost)
  } catch (cause) {
    throw refusal(inputInvalidCode, `LS_INPUT_INVALID: The input cannot be written as JSON. ${String(cause)}`)
  }
  if (bytes <= maxMessageBytes - envelopeBytes) return bytes
  throw refusal(
    limitExceededCode,
    `LS_MESSAGE_TOO_LARGE: The input is larger than a message may be (${maxMessageBytes} bytes).`,
  )
}

const refusal = (code: number, message: string): LockstepClientError => fromWireError({ code, message })

type Replacer = (key: string, value: unknown) => unknown

/** Bytes of an input as JSON in UTF-8. @throws for what JSON cannot hold */
export function bytesOf(input: unknown, replacer?: Replacer): number {
  // JSON.stringify gives undefined for what JSON has no word for, whatever its type says.
  const json = JSON.stringify(input, replacer) as string | undefined
  return new TextEncoder().encode(json).length
}

/** Throws for a value that JSON leaves out, or writes as null or as {}: the server would get another input without a word. */
function refuseLost(key: string, value: unknown): unknown {
  const lost = lostKind(value)
  if (lost === undefined) return value
  throw new TypeError(`JSON has no word for ${lost}${key === '' ? '' : `, which "${key}" is`}.`)
}

function lostKind(value: unknown): string | undefined {
  if (typeof value === 'function' || typeof value === 'symbol') return `a ${typeof value}`
  if (typeof value === 'number' && !Number.isFinite(value)) return String(value)
  if (value instanceof Map) return 'a Map'
  return value instanceof Set ? 'a Set' : undefined
}

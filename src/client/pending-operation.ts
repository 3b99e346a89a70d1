import {
  limits,
  replyCodes,
  type Committed,
  type NeverReceived,
  type OutcomeAnswer,
  type RolledBack,
} from '../protocol/index.ts'
import { fromWireError, type LockstepClientError, type WireError } from './errors.ts'
import { isOperationId } from './operation-id.ts'

/** How an operation ended. `never_received`: it had no effect and never will; call again with a new id if wanted. */
export type FinalOutcome<Result = unknown> = Committed<Result> | RolledBack | NeverReceived

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

/** One call of an operation. */
export interface Call<Result = unknown> {
  readonly id: string
  /**
   * Settles once the outcome is known, which may take a reconnect. Resolves for every outcome; rejects with a
   * `LockstepClientError` when the operation was not accepted, so had no effect; when the server refuses to tell
   * its outcome; when the client was closed; or when there is no connection, for `waitForConnectionMs` or for good:
   * with LS_CLIENT_OUTCOME_UNKNOWN where it may have arrived, and without effect otherwise.
   */
  readonly outcome: Promise<FinalOutcome<Result>>
}

/** Settles the promise that `call` gave out. */
export interface Waiter {
  readonly promise: Promise<FinalOutcome>
  resolve(outcome: FinalOutcome): void
  reject(error: LockstepClientError): void
}

export function createWaiter(): Waiter {
  let settle: Pick<Waiter, 'resolve' | 'reject'> | undefined
  const promise = new Promise<FinalOutcome>((resolve, reject) => {
    settle = { resolve, reject }
  })
  return { promise, ...(settle as unknown as Pick<Waiter, 'resolve' | 'reject'>) }
}

/** What an error reply says of the operation that was sent. */
export type Acceptance = 'not_accepted' | 'try_again' | 'unknown'

const unknownCodes: ReadonlySet<number> = new Set([replyCodes.internal, replyCodes.outcomePending])

export function acceptanceOf(error: WireError): Acceptance {
  // Below 100 are errors of the connection: the operation may have arrived or not.
  if (error.code < 100 || unknownCodes.has(error.code)) return 'unknown'
  const refused = error.code === replyCodes.tooManyRequests || error.code === replyCodes.nodeStopping
  return refused || error.temporary ? 'try_again' : 'not_accepted'
}

/** Whether the server could not make it durable yet. It is true, but the final answer is still to come. */
export function isFromMemory(outcome: FinalOutcome): boolean {
  return outcome.outcome === 'rolled_back' && outcome.notice.transient === true
}

/** The answer when it has the shape of one, for an operation id. */
export function asAnswer(value: unknown): OutcomeAnswer | undefined {
  const { outcome, operationId } = Object(value) as { outcome?: unknown; operationId?: unknown }
  if (typeof operationId !== 'string') return undefined
  const known =
    outcome === 'committed' ||
    outcome === 'rolled_back' ||
    outcome === 'never_received' ||
    outcome === 'pending'
  return known ? (value as OutcomeAnswer) : undefined
}

/** Room in one message for what stands around the input. */
const envelopeBytes = 512

/** Why this call cannot be sent, if it cannot. */
export function callRefusal(id: string, input: unknown): LockstepClientError | undefined {
  if (isOperationId(id)) return inputRefusal(input)
  const message = 'LS_OPERATION_ID_INVALID: The operation id must be a UUID in lower case.'
  return fromWireError({ code: replyCodes.operationIdInvalid, message })
}

/** Why this cannot be sent, if it cannot. Sent anyway, it would end the connection and every call on it. */
export function inputRefusal(input: unknown): LockstepClientError | undefined {
  try {
    // JSON.stringify gives undefined for what JSON has no word for, whatever its type says.
    const json = JSON.stringify(input) as string | undefined
    if (new TextEncoder().encode(json).length <= limits.maxMessageBytes - envelopeBytes) return undefined
  } catch (cause) {
    const message = `LS_INPUT_INVALID: The input cannot be written as JSON. ${String(cause)}`
    return fromWireError({ code: replyCodes.inputInvalid, message })
  }
  const message = `LS_MESSAGE_TOO_LARGE: The input is larger than a message may be (${limits.maxMessageBytes} bytes).`
  return fromWireError({ code: replyCodes.limitExceeded, message })
}

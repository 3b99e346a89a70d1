import { mutationPoint } from '../protocol/mutation-point.ts'
import { limitExceededCode, retryAfterMsOf } from '../protocol/index.ts'
import { backoffMs, later, type Delays } from './backoff.ts'
import { detach } from './detach.ts'
import { fromWireError, toWireError, type LockstepClientError } from './errors.ts'
import type { ErrorListener } from './listeners.ts'
import type { OpenOperations } from './open-operations.ts'
import { cancelRetry, type Operation } from './operation.ts'
import { acceptanceOf, asFinal, type FinalOutcome } from './pending-operation.ts'
import { RecentIds } from './recent-ids.ts'
import { SendingWindow } from './sending-window.ts'
import type { StoredOperations } from './stored-operations.ts'

/** Attempts at one operation while the server says "not now". */
const maxAttempts = 6

interface SenderOptions {
  readonly open: OpenOperations
  readonly rpc: (method: string, data: unknown) => Promise<unknown>
  readonly stored: StoredOperations
  readonly delays: Delays
  readonly onError: ErrorListener
  readonly onOutcome: (outcome: FinalOutcome) => void
  /** The reply was lost, or does not say how it ended. */
  readonly onLost: (operation: Operation) => void
  /** The server will not carry it out. */
  readonly onRefused: (operation: Operation, error: LockstepClientError) => void
}

/** Sends what is queued, as much at once as the server takes, and again while it says "not now". */
export class Sender {
  readonly #options: SenderOptions
  readonly #sent = new RecentIds()
  readonly #window = new SendingWindow(() => this.sendQueued())
  #online = false

  constructor(options: SenderOptions) {
    this.#options = options
  }

  get isOnline(): boolean {
    return this.#online
  }

  /** Tells whether an operation of this id was sent by this page, though it may have ended since. */
  hasSent(id: string): boolean {
    return this.#sent.has(id)
  }

  start(): void {
    this.#online = true
    for (const operation of this.#options.open.all()) cancelRetry(operation)
    this.#window.reset()
    this.sendQueued()
  }

  stop(): void {
    this.#online = false
    this.#window.reset()
  }

  /** An operation has ended, so its place is free. */
  ended(): void {
    this.#window.widen()
  }

  sendQueued(): void {
    if (!this.#online) return
    let free = this.#window.room(this.#outstanding)
    for (const operation of this.#options.open.all()) {
      if (operation.state !== 'queued' || operation.cancelRetry !== undefined) continue
      if (free <= 0) break
      free -= 1
      detach(this.#send(operation), this.#options.onError)
    }
  }

  get #outstanding(): number {
    let count = 0
    for (const { state } of this.#options.open.all()) if (state !== 'queued') count += 1
    return count
  }

  async #send(operation: Operation): Promise<void> {
    const { open, stored, rpc, onOutcome, onLost } = this.#options
    const { id, name, input } = operation
    open.move(operation, 'sent')
    await stored.save(operation)
    if (!open.has(operation)) return
    if (!this.#online) {
      open.move(operation, 'queued')
      return
    }
    operation.attempts += 1
    // Pass undefined rather than false: JSON leaves it out of the message.
    const repeat = operation.sentBefore || undefined
    operation.sentBefore = true
    this.#sent.add(id)
    try {
      const outcome = asFinal(await rpc(name, messageOf(name, { id, input, repeat })))
      if (outcome?.operationId === id) onOutcome(outcome)
      else onLost(operation)
    } catch (thrown) {
      if (open.has(operation)) this.#failed(operation, thrown)
    }
  }

  #failed(operation: Operation, thrown: unknown): void {
    const { open, onLost, onRefused } = this.#options
    const error = toWireError(thrown)
    const acceptance = acceptanceOf(error)
    const retryAfterMs = acceptance === 'try_again' ? retryAfterMsOf(error.message) : undefined
    // The limit of the input alone refuses the call; past the limit of the answer there is an outcome, too large to send.
    const answerTooLarge = error.code === limitExceededCode && !error.message.startsWith('LS_MESSAGE')
    if (
      mutationPoint('client takes a lost reply for a refusal') &&
      acceptance === 'unknown' &&
      !answerTooLarge
    )
      onRefused(operation, fromWireError(error))
    else if (acceptance === 'unknown' || answerTooLarge) onLost(operation)
    else if (
      acceptance === 'not_accepted' ||
      (retryAfterMs === undefined && operation.attempts >= maxAttempts)
    )
      onRefused(operation, fromWireError(error))
    else {
      operation.state = 'queued'
      if (retryAfterMs === undefined) this.#retryLater(operation)
      else {
        // No call is given up for the server's load alone.
        operation.attempts = 0
        this.#window.narrow(this.#outstanding, retryAfterMs)
      }
      open.changed()
      this.sendQueued()
    }
  }

  #retryLater(operation: Operation): void {
    operation.cancelRetry = later(
      () => {
        cancelRetry(operation)
        this.sendQueued()
      },
      backoffMs(operation.attempts - 1, this.#options.delays),
    )
  }
}

/** Data of a call. Operations of Lockstep's own have their input beside the id. */
function messageOf(name: string, call: { id: string; input: unknown; repeat: true | undefined }): object {
  const { input, ...rest } = call
  return name.startsWith('lockstep.') ? { ...(input as object), ...rest } : call
}

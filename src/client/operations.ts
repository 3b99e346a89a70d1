import { replyCodes, reservedMethods, retryAfterMsOf } from '../protocol/index.ts'
import { backoffMs, later, type Delays } from './backoff.ts'
import { detach, disregard } from './detach.ts'
import { clientError, fromWireError, toWireError, type LockstepClientError } from './errors.ts'
import { Listeners, type ErrorListener, type Off } from './listeners.ts'
import type { NoticeBoard } from './notices.ts'
import { newOperationId } from './operation-id.ts'
import { OutcomeInquiry } from './outcome-inquiry.ts'
import type { Patience } from './patience.ts'
import { acceptanceOf, asAnswer, callRefusal, createWaiter, isFromMemory } from './pending-operation.ts'
import type {
  Call,
  CallOptions,
  FinalOutcome,
  OperationState,
  PendingOperation,
  Waiter,
} from './pending-operation.ts'
import { RecentIds } from './recent-ids.ts'
import { SendingWindow } from './sending-window.ts'
import type { StoredOperation, StoredOperations } from './stored-operations.ts'

/** How often one operation is sent while the server says "not now". */
const maxAttempts = 6
/** Longest wait before asking again for an outcome that was not decided yet, in milliseconds. */
const askAtLeastEveryMs = 5_000
/** How long until abandoned operations are looked for again while other tabs hold some, in milliseconds. */
const lookAgainMs = 15_000

interface Operation extends StoredOperation {
  state: OperationState
  attempts: number
  /** Whether a server may have got it before: from here, or from another page. */
  sentBefore: boolean
  /** Called by this page, and not taken over from an earlier one. */
  readonly isOfThisPage: boolean
  waiter: Waiter | undefined
  endWait: (() => void) | undefined
  cancelRetry: (() => void) | undefined
  ignoreSignal: (() => void) | undefined
}

interface OperationsOptions {
  readonly rpc: (method: string, data: unknown) => Promise<unknown>
  readonly stored: StoredOperations
  readonly notices: NoticeBoard
  readonly delays: Delays
  readonly patience: Patience
  readonly onError: ErrorListener
}

/** Sends operations and sees each through to its outcome, over lost replies and page reloads. */
export class Operations {
  readonly #options: OperationsOptions
  readonly #operations = new Map<string, Operation>()
  readonly #sent = new RecentIds()
  readonly #inquiry: OutcomeInquiry
  readonly #window = new SendingWindow(() => {
    this.#sendQueued()
  })
  readonly #onSettled: Listeners<[StoredOperation, FinalOutcome]>
  readonly #onChange: Listeners<[readonly PendingOperation[]]>
  /** Outcomes of an earlier page's operations that nobody has listened for yet. */
  #unheard: { readonly operation: Operation; readonly outcome: FinalOutcome }[] = []
  #snapshot: readonly PendingOperation[] | undefined
  #online = false
  #closed = false
  /** Why there will be no connection any more. */
  #ended: LockstepClientError | undefined
  #cancelLook: (() => void) | undefined

  constructor(options: OperationsOptions) {
    this.#options = options
    this.#onSettled = new Listeners(options.onError)
    this.#onChange = new Listeners(options.onError)
    this.#inquiry = new OutcomeInquiry({
      ask: (ids) => options.rpc(reservedMethods.outcomes, { ids }),
      answer: (value) => {
        const answer = asAnswer(value)
        if (answer !== undefined && answer.outcome !== 'pending') this.settle(answer)
      },
      refused: (id, error) => {
        const operation = this.#operations.get(id)
        if (operation === undefined) this.#close(id)
        else this.#reject(operation, fromWireError(error))
      },
      delays: { ...options.delays, maxMs: Math.min(options.delays.maxMs, askAtLeastEveryMs) },
      onError: options.onError,
    })
  }

  get pending(): readonly PendingOperation[] {
    this.#snapshot ??= [...this.#operations.values()].map(({ id, name, input, startedAt, state }) => ({
      id,
      name,
      input,
      startedAt,
      state,
    }))
    return this.#snapshot
  }

  onChange(listener: (pending: readonly PendingOperation[]) => void): Off {
    return this.#onChange.add(listener)
  }

  onSettled(listener: (operation: StoredOperation, outcome: FinalOutcome) => void): Off {
    const off = this.#onSettled.add(listener)
    queueMicrotask(this.deliverUnheard)
    return off
  }

  call(name: string, input: unknown, { id = newOperationId(), signal }: CallOptions = {}): Call {
    const existing = this.#operations.get(id)
    if (existing !== undefined) return { id, outcome: this.#join(existing).promise }
    const waiter = createWaiter()
    const refusal = this.#refusalOf(id, input, signal)
    if (refusal !== undefined) {
      waiter.reject(refusal)
      return { id, outcome: waiter.promise }
    }
    const operation = this.#remember({ id, name, input, startedAt: Date.now() }, 'queued', waiter)
    const withdraw = (): void => {
      if (operation.state === 'queued') this.#reject(operation, clientError('LS_CLIENT_CANCELLED'))
    }
    signal?.addEventListener('abort', withdraw)
    operation.ignoreSignal = () => signal?.removeEventListener('abort', withdraw)
    operation.sentBefore = this.#sent.has(id)
    this.#store(operation)
    this.#changed()
    if (!this.#online) this.#awaitConnection(operation)
    this.#sendQueued()
    return { id, outcome: waiter.promise }
  }

  /** The user became known: what was called before that is stored now. */
  saveAll(): void {
    for (const operation of this.#operations.values()) this.#store(operation)
  }

  /** A connection stands. */
  start(): void {
    this.#online = true
    this.#inquiry.start()
    for (const operation of this.#operations.values()) {
      this.#clearRetry(operation)
      operation.endWait?.()
    }
    this.#window.reset()
    this.#sendQueued()
    this.#lookAgain()
  }

  /** The connection is gone; another one is tried. */
  stop(): void {
    const wasOnline = this.#online
    this.#online = false
    this.#ended = undefined
    this.#inquiry.stop()
    this.#window.reset()
    this.#cancelLook?.()
    if (wasOnline) for (const operation of this.#operations.values()) this.#awaitConnection(operation)
  }

  /** The connection is gone, and no other one is tried: calls settle now. */
  end(error: LockstepClientError): void {
    this.#ended = error
    for (const operation of this.#operations.values()) this.#giveUp(operation, error)
  }

  close(): void {
    this.stop()
    this.#closed = true
    for (const operation of this.#operations.values()) {
      this.#clearRetry(operation)
      operation.endWait?.()
      operation.ignoreSignal?.()
      // Handled here: whoever closes the client need not have awaited every call.
      if (operation.waiter !== undefined) disregard(operation.waiter.promise)
      operation.waiter?.reject(clientError('LS_CLIENT_CLOSED'))
    }
    this.#operations.clear()
    this.#changed()
    this.#options.stored.close()
  }

  /** Takes an outcome, whoever brought it: the reply, a notice, or an answer to the question for outcomes. */
  settle(outcome: FinalOutcome): void {
    const operation = this.#operations.get(outcome.operationId)
    if (operation === undefined) {
      this.#settleOther(outcome)
      return
    }
    this.#inquiry.delete(operation.id)
    this.#window.widen()
    // First, so that a listener that closes the client does not take from the call the outcome that it has.
    this.#forget(operation)
    // A notice for an operation of an earlier page waits with its outcome when nobody listens yet.
    if (outcome.outcome === 'rolled_back' && this.#isHeard(operation, outcome)) {
      this.#options.notices.report(outcome.notice)
    }
    const isHere = operation.isOfThisPage || operation.waiter !== undefined
    if (!isHere && !this.#options.stored.isMine(operation.id)) return
    // Told, and true; but only the database can close the id. The answer to the question does, once it is back.
    if (isFromMemory(outcome)) this.#inquiry.add(operation.id)
    this.#unheard.push({ operation, outcome })
    this.deliverUnheard()
  }

  #lookAgain(): void {
    detach(this.takeOver(), this.#options.onError)
  }

  /** Looks for operations that earlier pages of this user left without an outcome. */
  async takeOver(): Promise<void> {
    this.#cancelLook?.()
    if (!this.#online) return
    const { taken, others } = await this.#options.stored.takeOver()
    if (this.#closed) return
    for (const stored of taken) {
      if (this.#operations.has(stored.id)) continue
      if (stored.told === true) this.#options.notices.silence(stored.id)
      else this.#remember(stored, 'unknown', undefined)
      this.#inquiry.add(stored.id)
    }
    if (taken.some(({ told }) => told !== true)) this.#changed()
    if (others && this.#online) this.#cancelLook = later(() => this.#lookAgain(), lookAgainMs)
  }

  /** Hands over outcomes that waited for a listener. */
  readonly deliverUnheard = (): void => {
    const heard = this.#unheard.filter(({ operation, outcome }) => this.#isHeard(operation, outcome))
    if (heard.length === 0) return
    this.#unheard = this.#unheard.filter((entry) => !heard.includes(entry))
    for (const { operation, outcome } of heard) {
      const { id, name, input, startedAt } = operation
      if (outcome.outcome === 'rolled_back') this.#options.notices.report(outcome.notice)
      // Before a listener can close the client, which leaves the entry to the next one.
      if (isFromMemory(outcome)) this.#options.stored.markTold(operation)
      operation.waiter?.resolve(outcome)
      this.#onSettled.emit({ id, name, input, startedAt }, outcome)
      if (!isFromMemory(outcome)) this.#options.stored.remove(id)
    }
  }

  /** An outcome of what is not pending here: another device's operation, or one that was told from memory. */
  #settleOther(outcome: FinalOutcome): void {
    // Another device's, told from memory there: when it is true, a durable notice follows.
    if (isFromMemory(outcome)) return
    const id = outcome.operationId
    if (outcome.outcome === 'rolled_back') this.#options.notices.report(outcome.notice)
    this.#unheard = this.#unheard.map((entry) => (entry.operation.id === id ? { ...entry, outcome } : entry))
    if (this.#inquiry.delete(id)) this.#close(id)
  }

  /** Nothing more is to be found out about an operation that was told from memory. */
  #close(id: string): void {
    if (!this.#unheard.some(({ operation }) => operation.id === id)) this.#options.stored.remove(id)
  }

  /** Once per operation, and before it is stored from here: an entry that is there already is another page's. */
  #store(operation: Operation): void {
    operation.sentBefore ||= this.#options.stored.has(operation.id)
    detach(this.#options.stored.save(operation), this.#options.onError)
  }

  #remember(stored: StoredOperation, state: OperationState, waiter: Waiter | undefined): Operation {
    const { id, name, input, startedAt } = stored
    const operation: Operation = {
      id,
      name,
      input,
      startedAt,
      state,
      waiter,
      isOfThisPage: waiter !== undefined,
      attempts: 0,
      sentBefore: false,
      endWait: undefined,
      cancelRetry: undefined,
      ignoreSignal: undefined,
    }
    this.#operations.set(id, operation)
    return operation
  }

  #refusalOf(id: string, input: unknown, signal: AbortSignal | undefined): LockstepClientError | undefined {
    if (this.#closed) return clientError('LS_CLIENT_CLOSED')
    if (signal?.aborted === true) return clientError('LS_CLIENT_CANCELLED')
    return this.#ended ?? callRefusal(id, input)
  }

  #join(operation: Operation): Waiter {
    operation.waiter ??= createWaiter()
    if (this.#ended !== undefined) {
      const { waiter } = operation
      this.#giveUp(operation, this.#ended)
      return waiter
    }
    if (!this.#online) this.#awaitConnection(operation)
    return operation.waiter
  }

  #awaitConnection(operation: Operation): void {
    operation.endWait?.()
    operation.endWait = this.#options.patience.wait((error) => this.#giveUp(operation, error))
  }

  /**
   * There is no connection for this call. What was never sent had no effect, and is withdrawn. What may have reached a
   * server stays, also in the storage, and is asked for later: only its caller no longer waits.
   */
  #giveUp(operation: Operation, error: LockstepClientError): void {
    if (operation.waiter === undefined || this.#operations.get(operation.id) !== operation) return
    if (operation.state !== 'unknown' && !operation.sentBefore) {
      this.#reject(operation, error)
      return
    }
    const { waiter } = operation
    operation.waiter = undefined
    operation.endWait?.()
    operation.ignoreSignal?.()
    this.#clearRetry(operation)
    waiter.reject(clientError('LS_CLIENT_OUTCOME_UNKNOWN', undefined, error))
    this.#ask(operation)
  }

  #isHeard(operation: Operation, outcome: FinalOutcome): boolean {
    if (operation.waiter !== undefined || this.#onSettled.size > 0) return true
    return outcome.outcome === 'rolled_back' && this.#options.notices.isHeard
  }

  #sendQueued(): void {
    if (!this.#online) return
    let free = this.#window.room(this.#outstanding)
    for (const operation of this.#operations.values()) {
      if (operation.state !== 'queued' || operation.cancelRetry !== undefined) continue
      if (free <= 0) break
      free -= 1
      detach(this.#send(operation), this.#options.onError)
    }
  }

  get #outstanding(): number {
    let count = 0
    for (const { state } of this.#operations.values()) if (state !== 'queued') count += 1
    return count
  }

  async #send(operation: Operation): Promise<void> {
    const { id, name, input } = operation
    operation.state = 'sent'
    operation.attempts += 1
    this.#changed()
    await this.#options.stored.save(operation)
    if (this.#operations.get(id) !== operation) return
    if (!this.#online) {
      operation.state = 'queued'
      operation.attempts -= 1
      this.#changed()
      return
    }
    // Undefined is left out of the message.
    const repeat = operation.sentBefore || undefined
    operation.sentBefore = true
    this.#sent.add(id)
    try {
      const answer = asAnswer(await this.#options.rpc(name, { id, input, repeat }))
      if (answer?.operationId !== id || answer.outcome === 'pending') this.#ask(operation)
      else this.settle(answer)
    } catch (thrown) {
      this.#failed(operation, thrown)
    }
  }

  #ask(operation: Operation): void {
    if (this.#operations.get(operation.id) !== operation) return
    operation.state = 'unknown'
    this.#changed()
    this.#inquiry.add(operation.id)
  }

  #failed(operation: Operation, thrown: unknown): void {
    if (this.#operations.get(operation.id) !== operation) return
    const error = toWireError(thrown)
    const acceptance = acceptanceOf(error)
    const retryAfterMs = retryAfterMsOf(error.message)
    // A limit that is no error of the catalogue is that of the answer: there is an outcome, too large to send.
    const answerTooLarge = error.code === replyCodes.limitExceeded && !error.message.startsWith('LS_')
    if (acceptance === 'unknown' || answerTooLarge) this.#ask(operation)
    else if (acceptance === 'try_again' && retryAfterMs !== undefined)
      this.#sendLater(operation, retryAfterMs)
    else if (acceptance === 'not_accepted' || operation.attempts >= maxAttempts) {
      this.#reject(operation, fromWireError(error))
    } else {
      operation.state = 'queued'
      operation.cancelRetry = later(
        () => {
          this.#clearRetry(operation)
          this.#sendQueued()
        },
        backoffMs(operation.attempts - 1, this.#options.delays),
      )
      this.#changed()
    }
  }

  /** For the server's load alone no call is given up. */
  #sendLater(operation: Operation, retryAfterMs: number): void {
    operation.state = 'queued'
    operation.attempts = 0
    this.#window.narrow(this.#outstanding, retryAfterMs)
    this.#changed()
    this.#sendQueued()
  }

  #reject(operation: Operation, error: LockstepClientError): void {
    this.#options.stored.remove(operation.id)
    this.#forget(operation)
    if (operation.waiter === undefined) this.#options.onError(error)
    else operation.waiter.reject(error)
  }

  #forget(operation: Operation): void {
    this.#clearRetry(operation)
    operation.endWait?.()
    operation.ignoreSignal?.()
    this.#operations.delete(operation.id)
    this.#changed()
    // Its place among the outstanding calls is free.
    this.#sendQueued()
  }

  #clearRetry(operation: Operation): void {
    operation.cancelRetry?.()
    operation.cancelRetry = undefined
  }

  #changed(): void {
    this.#snapshot = undefined
    if (this.#onChange.size > 0) this.#onChange.emit(this.pending)
  }
}

import { withRefusal } from '../protocol/index.ts'
import { mutationPoint } from '../protocol/mutation-point.ts'
import { later, type Delays } from './backoff.ts'
import { createCall } from './call.ts'
import { detach, disregard } from './detach.ts'
import { clientError, type LockstepClientError } from './errors.ts'
import { Listeners, type ErrorListener, type Off } from './listeners.ts'
import type { NoticeBoard } from './notices.ts'
import { OpenOperations } from './open-operations.ts'
import { factsOf, release, type Operation } from './operation.ts'
import { newOperationId } from './operation-id.ts'
import { OutcomeInquiry } from './outcome-inquiry.ts'
import type { ConnectionWait } from './connection-wait.ts'
import { assertOperationId, bytesOf, isFromMemory, sendableBytes } from './pending-operation.ts'
import type { Call, CallOptions, FinalOutcome, PendingOperation } from './pending-operation.ts'
import { Sender } from './sender.ts'
import { createDeferred } from './deferred.ts'
import type { StoredOperation, StoredOperations } from './stored-operations.ts'

/** Pause between looks for abandoned operations while other tabs hold some, in milliseconds. */
const lookAgainMs = 15_000

interface OperationsOptions {
  readonly rpc: (method: string, data: unknown) => Promise<unknown>
  readonly stored: StoredOperations
  readonly notices: NoticeBoard
  readonly delays: Delays
  readonly connectionWait: ConnectionWait
  readonly onError: ErrorListener
}

/** Sees each operation through to its outcome, over lost replies and page reloads. */
export class Operations {
  readonly #options: OperationsOptions
  readonly #open: OpenOperations
  readonly #sender: Sender
  readonly #inquiry: OutcomeInquiry
  readonly #onSettled: Listeners<[StoredOperation, FinalOutcome]>
  /** Outcomes of an earlier page's operations that nobody has listened for yet, by the operation's id. */
  readonly #unheard = new Map<string, { readonly operation: Operation; outcome: FinalOutcome }>()
  #closed = false
  /** Reason why there will be no connection any more. */
  #ended: LockstepClientError | undefined
  #cancelLook: (() => void) | undefined

  constructor(options: OperationsOptions) {
    this.#options = options
    this.#open = new OpenOperations(options.onError)
    this.#onSettled = new Listeners(options.onError)
    const onOutcome = (outcome: FinalOutcome): void => this.settle(outcome)
    this.#sender = new Sender({
      ...options,
      open: this.#open,
      onOutcome,
      onLost: (operation) => this.#ask(operation),
      onRefused: (operation, error) => this.#reject(operation, error),
    })
    this.#inquiry = new OutcomeInquiry({
      ...options,
      onOutcome,
      onRefused: (id, error) => {
        const operation = this.#open.get(id)
        if (operation === undefined) this.#close(id)
        else this.#reject(operation, error)
      },
    })
  }

  get pending(): readonly PendingOperation[] {
    return this.#open.snapshot
  }

  onChange(listener: (pending: readonly PendingOperation[]) => void): Off {
    return this.#open.onChange(listener)
  }

  onSettled(listener: (operation: StoredOperation, outcome: FinalOutcome) => void): Off {
    const off = this.#onSettled.add(listener)
    queueMicrotask(this.deliver)
    return off
  }

  call(name: string, input: unknown, { id = newOperationId(), signal }: CallOptions): Call {
    let operation = this.#open.get(id)
    if (operation === undefined) {
      try {
        const bytes = this.#admit(id, input, signal)
        operation = this.#open.add({ id, name, input, startedAt: Date.now() }, bytes, true)
      } catch (refusal) {
        return createCall(id, Promise.reject(refusal))
      }
      this.#withdrawOnAbort(operation, signal)
      operation.sentBefore = this.#sender.hasSent(id)
      this.#store(operation)
      this.#open.changed()
    }
    const { promise } = (operation.waiter ??= createDeferred())
    if (this.#ended !== undefined) this.#giveUp(operation, this.#ended)
    else if (!this.#sender.isOnline) this.#awaitConnection(operation)
    this.#sender.sendQueued()
    return createCall(id, promise)
  }

  /** The user became known: what was called before that is stored now. */
  saveAll(): void {
    for (const operation of this.#open.all()) this.#store(operation)
  }

  /** A connection stands. */
  start(): void {
    this.#inquiry.start()
    this.#sender.start()
    if (mutationPoint('client forgets its calls when its page is loaded anew')) return
    this.#lookAgain()
  }

  /** The connection is gone; another one is tried. */
  stop(): void {
    const wasOnline = this.#sender.isOnline
    this.#ended = undefined
    this.#sender.stop()
    this.#inquiry.stop()
    this.#cancelLook?.()
    if (wasOnline) for (const operation of this.#open.all()) this.#awaitConnection(operation)
  }

  /** The connection is gone, and no other one is tried: calls settle now. */
  end(error: LockstepClientError): void {
    this.#ended = error
    for (const operation of this.#open.all()) this.#giveUp(operation, error)
  }

  close(): void {
    this.stop()
    this.#closed = true
    for (const operation of this.#open.all()) {
      release(operation)
      // Handled here: the caller of close need not have awaited every call.
      if (operation.waiter !== undefined) disregard(operation.waiter.promise)
      operation.waiter?.reject(clientError('LS_CLIENT_CLOSED'))
    }
    this.#open.clear()
    this.#options.stored.close()
  }

  /** Takes an outcome, whoever brought it: the reply, a notice, or an answer to the question for outcomes. */
  settle(ended: FinalOutcome): void {
    const outcome = withRefusal(ended)
    const operation = this.#open.get(outcome.operationId)
    if (operation === undefined) {
      this.#settleOther(outcome)
      return
    }
    const { id, isOwn, waiter } = operation
    this.#inquiry.delete(id)
    this.#sender.ended()
    // Forgets first, so that a listener that closes the client does not take from the call the outcome that it has.
    this.#forget(operation)
    // A notice for an operation of an earlier page waits with its outcome when nobody listens yet.
    this.#report(outcome)
    if (!isOwn && waiter === undefined && !this.#options.stored.isMine(id)) return
    // Ask the server about an outcome reported from memory: it is true, but only the database can close the id.
    if (isFromMemory(outcome)) this.#inquiry.add(id)
    this.#unheard.set(id, { operation, outcome })
    this.deliver()
  }

  #lookAgain(): void {
    detach(this.takeOver(), this.#options.onError)
  }

  /** Looks for operations that earlier pages of this user left without an outcome. */
  async takeOver(): Promise<void> {
    this.#cancelLook?.()
    if (!this.#sender.isOnline) return
    const { taken, others } = await this.#options.stored.takeOver()
    if (this.#closed) return
    for (const stored of taken) {
      if (this.#open.get(stored.id) !== undefined) continue
      if (
        stored.told === true &&
        !mutationPoint('client reports again what its last page has reported from memory')
      )
        this.#options.notices.markShown(stored.id)
      else this.#open.add(stored, bytesOf(stored.input), false)
      this.#inquiry.add(stored.id)
    }
    if (taken.some(({ told }) => told !== true)) this.#open.changed()
    if (others && this.#sender.isOnline) this.#cancelLook = later(() => this.#lookAgain(), lookAgainMs)
  }

  /** Hands over outcomes that waited for a listener. */
  readonly deliver = (): void => {
    for (const { operation, outcome } of this.#unheard.values()) {
      const { id, waiter } = operation
      const isHeard =
        waiter !== undefined ||
        this.#onSettled.size > 0 ||
        (outcome.outcome === 'rolled_back' && this.#options.notices.isHeard)
      // Deleted first: a listener may bring this about again.
      if (!isHeard || !this.#unheard.delete(id)) continue
      this.#report(outcome)
      // Marked before a listener can close the client, which leaves the entry to the next one.
      if (isFromMemory(outcome)) this.#options.stored.markReported(operation)
      waiter?.resolve(outcome)
      this.#onSettled.emit(factsOf(operation), outcome)
      if (!isFromMemory(outcome)) this.#options.stored.remove(id)
    }
  }

  #report(outcome: FinalOutcome): void {
    if (outcome.outcome === 'rolled_back') this.#options.notices.report(outcome.notice)
  }

  /** An outcome of what is not pending here: another device's operation, or one that was reported from memory. */
  #settleOther(outcome: FinalOutcome): void {
    // Ignore an outcome reported from memory to another device: when it is true, a durable notice follows.
    if (isFromMemory(outcome)) return
    const id = outcome.operationId
    this.#report(outcome)
    const unheard = this.#unheard.get(id)
    if (unheard !== undefined) unheard.outcome = outcome
    if (this.#inquiry.delete(id)) this.#close(id)
  }

  /** Removes an operation reported from memory once the database has answered, unless its outcome waits for a listener. */
  #close(id: string): void {
    if (!this.#unheard.has(id)) this.#options.stored.remove(id)
  }

  /** Called once per operation, before it is stored from here: an entry that is there already is another page's. */
  #store(operation: Operation): void {
    operation.sentBefore ||= this.#options.stored.has(operation.id)
    detach(this.#options.stored.save(operation), this.#options.onError)
  }

  /** Size of the input of a call that may be made. @throws LockstepClientError when it may not */
  #admit(id: string, input: unknown, signal: AbortSignal | undefined): number {
    if (this.#closed) throw clientError('LS_CLIENT_CLOSED')
    if (signal?.aborted === true) throw clientError('LS_CLIENT_CANCELLED')
    if (this.#ended !== undefined) throw this.#ended
    assertOperationId(id)
    const bytes = sendableBytes(input)
    if (!this.#open.hasRoom(bytes)) throw clientError('LS_CLIENT_QUEUE_FULL')
    return bytes
  }

  #withdrawOnAbort(operation: Operation, signal: AbortSignal | undefined): void {
    const withdraw = (): void => {
      if (operation.state === 'queued') this.#reject(operation, clientError('LS_CLIENT_CANCELLED'))
    }
    signal?.addEventListener('abort', withdraw)
    operation.ignoreSignal = () => signal?.removeEventListener('abort', withdraw)
  }

  #awaitConnection(operation: Operation): void {
    operation.endWait?.()
    operation.endWait = this.#options.connectionWait((error) => this.#giveUp(operation, error))
  }

  /**
   * Rejects a call for which there is no connection. A call that was never sent had no effect, and is withdrawn. A call
   * that may have reached a server stays, also in the storage, and is asked for later: only its caller no longer waits.
   */
  #giveUp(operation: Operation, error: LockstepClientError): void {
    const { waiter, state, sentBefore } = operation
    if (waiter === undefined || !this.#open.has(operation)) return
    if (state !== 'unknown' && !sentBefore) {
      if (mutationPoint('client sends a call that it has given up')) waiter.reject(error)
      else this.#reject(operation, error)
      return
    }
    operation.waiter = undefined
    release(operation)
    waiter.reject(clientError('LS_CLIENT_OUTCOME_UNKNOWN', undefined, error))
    this.#ask(operation)
  }

  #ask(operation: Operation): void {
    if (!this.#open.has(operation)) return
    this.#open.move(operation, 'unknown')
    this.#inquiry.add(operation.id)
  }

  #reject(operation: Operation, error: LockstepClientError): void {
    this.#options.stored.remove(operation.id)
    this.#forget(operation)
    if (operation.waiter === undefined) this.#options.onError(error)
    else operation.waiter.reject(error)
  }

  #forget(operation: Operation): void {
    release(operation)
    this.#open.delete(operation)
    // A place among the outstanding calls is free.
    this.#sender.sendQueued()
  }
}

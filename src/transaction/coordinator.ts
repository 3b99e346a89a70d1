import { setMaxListeners } from 'node:events'
import { faultPoint } from '../core/fault-point.ts'
import { coordinationEvents, type Notice, type Outcome } from '../protocol/index.ts'
import {
  isLockstepError,
  LockstepError,
  pause,
  userChannel,
  type Clock,
  type Database,
  type Logger,
  type UserContext,
} from '../core/index.ts'
import type { StoredEvent } from '../events/index.ts'
import type { OperationKey } from '../postgres/index.ts'
import { attempt, neverBegun, type AttemptEnding } from './attempt.ts'
import { toStoredEvents } from './committed-events.ts'
import type { IntentWriter } from './intent-writer.ts'
import type { NodeLease } from './node-lease.ts'
import { createNotice, failureCode, type RollbackOptions } from './notice.ts'
import { OpenOperation } from './open-operation.ts'
import type { SettledOperation, Settler } from './settlement.ts'
import { assertSameOperation, type StoredOutcomes } from './stored-outcomes.ts'
import type { Transaction } from './transaction.ts'

/** One operation, ready to run: validated and authorized. */
export interface OperationRequest<Db, Result> {
  readonly id: string
  readonly name: string
  readonly user: UserContext
  /** Digest of name and input. */
  readonly inputHash: string
  readonly rollback: RollbackOptions
  /**
   * False: no durable note is written at the start. When the process dies before the end, the user is told only
   * by the answer to the client's own question, and not by a notice.
   */
  readonly intent: boolean
  /** The id may have been sent before: while the database is away, no answer is then given from memory. */
  readonly repeat?: boolean | undefined
  readonly signal?: AbortSignal | undefined
  readonly work: (tx: Transaction<Db>) => Promise<Result>
}

/** The outcome, and for the caller in this process what a user must not see. */
export interface Ended<Result> {
  readonly outcome: Outcome<Result>
  /** What made it roll back; absent when committed, or when the outcome was replayed. */
  readonly error?: unknown
}

export interface CoordinatorOptions<Db> {
  readonly database: Database<Db>
  readonly intents: IntentWriter
  readonly settler: Settler
  readonly outcomes: StoredOutcomes
  readonly lease: NodeLease
  readonly clock: Clock
  readonly logger: Logger
  /** Takes committed events to their subscribers. */
  readonly announce: (events: readonly StoredEvent[]) => void
  /** Shows a notice that could not be made durable yet. */
  readonly announceTransient: (channel: string, type: string, operationId: string, notice: Notice) => void
  /** Attempts in all at an operation that meets serialization failures or deadlocks. Default 5. */
  readonly maxAttempts?: number
  /** How long a caller waits for an outcome that is not known yet, before it is told so. Default 5,000. */
  readonly pendingAfterMs?: number
  /** Operations this process works on at once, those that wait for the database included. Default 10,000. */
  readonly maxOpen?: number
}

type Failed<Result> = Extract<AttemptEnding<Result>, { ending: 'rolled_back' | 'unknown' }>

/** Runs operations: one transaction, one outcome, and its user is told. */
export class TransactionCoordinator<Db> {
  readonly #options: CoordinatorOptions<Db>
  /** Until the outcome stands in the database. */
  readonly #open = new Map<string, OpenOperation<Ended<unknown>>>()
  readonly #stop = new AbortController()
  readonly #giveUp = new AbortController()
  #stopping = false

  constructor(options: CoordinatorOptions<Db>) {
    this.#options = options
    // Every open operation listens; Node takes more than ten listeners for a leak.
    setMaxListeners(0, this.#stop.signal, this.#giveUp.signal)
  }

  get openCount(): number {
    return this.#open.size
  }

  isOpen(id: string): boolean {
    return this.#open.has(id)
  }

  /**
   * Runs the operation to its outcome. The same id with the same user and input has one effect: a copy gets the
   * outcome of the first.
   * @throws what means "not accepted": LS_NODE_STOPPING, LS_NODE_FENCED, LS_NODE_OVERLOADED,
   * LS_OPERATION_ID_REUSED
   * @throws LS_OUTCOME_PENDING when the outcome is not known within `pendingAfterMs`; it is still found and told
   */
  async run<Result>(request: OperationRequest<Db, Result>): Promise<Ended<Result>> {
    const key: OperationKey = {
      id: request.id,
      name: request.name,
      userId: request.user.id,
      node: this.#options.lease.node,
      inputHash: request.inputHash,
    }
    const twin = this.#open.get(key.id)
    if (twin !== undefined) {
      assertSameOperation(twin.key, key)
      return (await twin.answered) as Ended<Result>
    }
    this.#assertAccepting()
    const operation = new OpenOperation<Ended<unknown>>(key, (self) => this.#runToItsEnd(request, self))
    this.#open.set(key.id, operation)
    void operation.ended.then(() => this.#open.delete(key.id))
    return (await operation.answered) as Ended<Result>
  }

  /** Takes no more work; what runs is given `drainMs`, then rolled back, and its users are told. */
  async close(drainMs: number): Promise<void> {
    this.#stopping = true
    await this.#drained(drainMs)
    this.#stop.abort(new LockstepError('LS_OPERATION_INTERRUPTED'))
    await this.#drained(2_000)
    // What is left waits for a database that is away: other nodes, or the next start, settle it.
    this.#giveUp.abort(new LockstepError('LS_NODE_STOPPING'))
  }

  #assertAccepting(): void {
    const { lease, maxOpen = 10_000 } = this.#options
    if (this.#stopping) throw new LockstepError('LS_NODE_STOPPING')
    if (lease.state === 'lost') throw new LockstepError('LS_NODE_FENCED')
    if (lease.state === 'starting' || lease.state === 'released') throw new LockstepError('LS_NODE_STOPPING')
    if (this.#open.size >= maxOpen) throw new LockstepError('LS_NODE_OVERLOADED')
  }

  /**
   * Errors of the catalogue are answers. Anything else broke on the way (a logger that throws, say), and must not
   * leave the operation open: while this node lives, nobody else would settle it.
   */
  async #runToItsEnd<Result>(
    request: OperationRequest<Db, Result>,
    operation: OpenOperation<Ended<unknown>>,
  ): Promise<Ended<unknown>> {
    try {
      return await this.#run(request, operation)
    } catch (error) {
      if (isLockstepError(error)) throw error
      const notice = createNotice({
        operationId: request.id,
        operationName: request.name,
        rollback: request.rollback,
        code: 'LS_OPERATION_FAILED',
        affectedLayers: ['database'],
      })
      const settled = await this.#orPending(operation, () => this.#settleUntilKnown(operation.key, notice))
      const outcome = this.#options.outcomes.toOutcome(request.id, settled, notice)
      this.#options.logger.error({ operationId: request.id, error }, 'an operation broke on its way')
      return outcome.outcome === 'committed' ? { outcome } : { outcome, error }
    }
  }

  async #run<Result>(
    request: OperationRequest<Db, Result>,
    operation: OpenOperation<Ended<unknown>>,
  ): Promise<Ended<unknown>> {
    const { announce, outcomes } = this.#options
    const ending = await this.#attempts(request, operation)
    if (ending.ending === 'known') {
      return this.#orPending(operation, async () => ({
        outcome: await outcomes.whenSettled(request.id, operation.key, this.#giveUp.signal),
      }))
    }
    if (ending.ending !== 'committed') return this.#settle(request, operation, ending)
    announce(toStoredEvents(request.id, ending.events, ending.flushed))
    await ending.runHooks()
    await faultPoint('transaction.before-reply')
    return {
      outcome: {
        outcome: 'committed',
        operationId: request.id,
        result: ending.result,
        positions: outcomes.positions(ending.flushed.positions),
      },
    }
  }

  /** Attempts until one ends other than by a conflict with another transaction. */
  async #attempts<Result>(
    request: OperationRequest<Db, Result>,
    operation: OpenOperation<Ended<unknown>>,
  ): Promise<AttemptEnding<Result>> {
    const { key } = operation
    const { database, logger, clock, maxAttempts = 5 } = this.#options
    const signal =
      request.signal === undefined ? this.#stop.signal : AbortSignal.any([this.#stop.signal, request.signal])
    const intent = await this.#startIntent(request.intent, operation)
    if (database.singleSession) {
      // The one session belongs to the transaction from BEGIN on, so the intent has to come first.
      const early = await endedByIntent(intent)
      if (early !== undefined) return early
    }
    for (let number = 1; ; number++) {
      const ending = await attempt(database, { ...request, key, signal, intent: intent?.landed }, logger)
      if (
        ending.ending !== 'rolled_back' ||
        !isWorthAnother(ending.error, number) ||
        number >= maxAttempts ||
        signal.aborted
      )
        return ending
      await pause(clock, Math.random() * 10 * 2 ** number, signal)
    }
  }

  // Wrapped in an object: a bare promise would be awaited on the way out, and the transaction would wait with it.
  async #startIntent(wanted: boolean, operation: OpenOperation<Ended<unknown>>): Promise<Intent | undefined> {
    await faultPoint('transaction.before-intent')
    if (!wanted) return undefined
    const landed = this.#options.intents.write(operation.key).then((isNew) => (operation.isFirst = isNew))
    // Awaited before the flush; until then a failure is nobody's.
    landed.catch(() => {})
    return { landed }
  }

  /** Makes the rollback, or finds the ending of a COMMIT whose reply was lost, and tells the user. */
  async #settle<Result>(
    request: OperationRequest<Db, Result>,
    operation: OpenOperation<Ended<unknown>>,
    failed: Failed<Result>,
  ): Promise<Ended<unknown>> {
    const { error } = failed
    const code = failureCode(error)
    this.#options.logger.error(
      {
        operationId: request.id,
        operation: request.name,
        user: request.user,
        code,
        ending: failed.ending,
        error,
      },
      'an operation failed',
    )
    const notice = createNotice({
      operationId: request.id,
      operationName: request.name,
      rollback: request.rollback,
      code,
      affectedLayers: failed.affectedLayers,
    })
    await faultPoint('transaction.before-notice')
    const settled =
      failed.ending === 'rolled_back'
        ? await this.#settleRolledBack(request, operation, notice, error)
        : await this.#orPending(operation, () => this.#settleUntilKnown(operation.key, notice))
    await faultPoint('transaction.after-notice')
    if (failed.ending === 'rolled_back') await failed.runHooks()
    const outcome = this.#options.outcomes.toOutcome(request.id, settled, notice)
    return outcome.outcome === 'committed' ? { outcome } : { outcome, error }
  }

  /**
   * COMMIT was never sent, or was refused: this copy is rolled back whatever happens. When the database is away the
   * user hears so at once, and the durable notice follows when it is back; unless another copy may have come
   * first, whose outcome cannot be known now, and is not for this one to decide.
   */
  async #settleRolledBack<Result>(
    request: OperationRequest<Db, Result>,
    operation: OpenOperation<Ended<unknown>>,
    notice: Notice,
    error: unknown,
  ): Promise<SettledOperation> {
    const { settler, announceTransient } = this.#options
    const { key } = operation
    try {
      return await settler.settle(key, notice)
    } catch (settleError) {
      if (isLockstepError(settleError, 'LS_OPERATION_ID_REUSED')) throw settleError
      if (request.repeat === true && !operation.isFirst) throw new LockstepError('LS_OUTCOME_PENDING')
      const transient: Notice = { ...notice, transient: true }
      const channel = userChannel(key.userId)
      announceTransient(channel, coordinationEvents.transactionRolledBack, key.id, transient)
      operation.answer({
        outcome: { outcome: 'rolled_back', operationId: key.id, notice: transient },
        error,
      })
      return this.#settleUntilKnown(key, notice)
    }
  }

  #settleUntilKnown(key: OperationKey, notice: Notice): Promise<SettledOperation> {
    return this.#options.settler.settleUntilKnown(key, notice, this.#giveUp.signal)
  }

  /** Goes on with the work, but tells the caller after a while that the outcome is not known yet. */
  async #orPending<T>(operation: OpenOperation<Ended<unknown>>, work: () => Promise<T>): Promise<T> {
    const { clock, pendingAfterMs = 5_000 } = this.#options
    const cancel = clock.after(pendingAfterMs, () => operation.fail(new LockstepError('LS_OUTCOME_PENDING')))
    try {
      return await work()
    } finally {
      cancel()
    }
  }

  async #drained(timeoutMs: number): Promise<void> {
    const all = Promise.all([...this.#open.values()].map(({ ended }) => ended))
    const timeout = new AbortController()
    await Promise.race([all, pause(this.#options.clock, timeoutMs, timeout.signal)])
    timeout.abort()
  }
}

/**
 * A conflict with another transaction is; and so is a first flush that found no open operation: under REPEATABLE
 * READ the intent may have landed after the snapshot was taken, and the next attempt sees it. If the operation
 * really was settled by somebody else, the next attempt finds the same.
 */
function isWorthAnother(error: unknown, number: number): boolean {
  const code = failureCode(error)
  return code === 'LS_SERIALIZATION_FAILURE' || (code === 'LS_OPERATION_FENCED' && number === 1)
}

interface Intent {
  /** Settles to whether the id is new. */
  readonly landed: Promise<boolean>
}

async function endedByIntent(
  intent: Intent | undefined,
): Promise<Extract<AttemptEnding<never>, { ending: 'known' | 'rolled_back' }> | undefined> {
  if (intent === undefined) return undefined
  try {
    return (await intent.landed) ? undefined : { ending: 'known' }
  } catch (error) {
    return neverBegun(error)
  }
}

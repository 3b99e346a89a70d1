import { faultPoint } from '../../core/fault-point.ts'
import { disregard, pause, type Clock, type Database } from '../../core/index.ts'
import type { TransientEvent } from '../../feeds/index.ts'
import type { LogAppender } from '../../log/index.ts'
import type { PendingEvent } from '../../postgres/index.ts'
import { mutationPoint } from '../../protocol/mutation-point.ts'
import type { IntentWriter } from '../intents/intent-writer.ts'
import type { LateCalls } from '../intents/late-calls.ts'
import { OperationRollbackEvents } from '../parts/operation-rollback-events.ts'
import type { Part } from '../parts/part.ts'
import type { RollbackEventWriter } from '../parts/rollback-event-writer.ts'
import type { StoredOutcomes } from '../settle/stored-outcomes.ts'
import type { AttemptRequest, AttemptResult } from './attempt-result.ts'
import { nextAttemptWithinMs } from './attempt-rules.ts'
import { attempt, neverBegun } from './attempt.ts'
import { FlushQueue } from './flush-queue.ts'
import type { OpenOperation } from './open-operation.ts'
import type { OperationGuard } from './operation-guard.ts'
import type { EndedOperation, OperationRequest, RequestFacts } from './operation-request.ts'
import type { OperationTrace } from './operation-trace.ts'
import { WorkLimits } from './work-limits.ts'

export interface AttemptsOptions<Db> {
  readonly database: Database<Db>
  readonly log: LogAppender
  readonly clock: Clock
  readonly intents: IntentWriter
  readonly late: LateCalls
  readonly outcomes: StoredOutcomes
  /** Set in development only. */
  readonly guard?: OperationGuard | undefined
  /** Epoch of the history that this node serves. */
  readonly epoch: () => string
  /** Shows events at once, where the mode of an operation lets them leave. */
  readonly deliverTransient: (event: TransientEvent) => void
  /**
   * Attempts in all at an operation that meets serialization failures or deadlocks. Default 5. One that met a read-only
   * server has a second one, over a connection that was made since.
   */
  readonly maxAttempts?: number | undefined
  /** Parts of an operation beside its events, in the order of their rows. Default: none. */
  readonly parts?: readonly Part<unknown>[] | undefined
  readonly rollbackEvents: RollbackEventWriter
}

/** An operation that has its slot, and the mode that it runs in. */
export interface Accepted<Db, Result> {
  readonly request: OperationRequest<Db, Result>
  readonly operation: OpenOperation<EndedOperation<unknown>>
  readonly trace: OperationTrace
}

/** Writes the intent of an operation, and tries its work until it has ended. */
export class Attempts<Db> {
  readonly #database: Database<Db>
  readonly #log: LogAppender
  readonly #clock: Clock
  readonly #intents: IntentWriter
  readonly #late: LateCalls
  readonly #outcomes: StoredOutcomes
  readonly #guard: OperationGuard | undefined
  readonly #epoch: () => string
  readonly #deliverTransient: (event: TransientEvent) => void
  readonly #maxAttempts: number
  readonly #parts: readonly Part<unknown>[]
  readonly #rollbackEvents: RollbackEventWriter
  readonly #limits = new WorkLimits()
  readonly #flushes: FlushQueue

  constructor(options: AttemptsOptions<Db>) {
    this.#database = options.database
    this.#log = options.log
    this.#clock = options.clock
    this.#intents = options.intents
    this.#late = options.late
    this.#outcomes = options.outcomes
    this.#guard = options.guard
    this.#epoch = options.epoch
    this.#deliverTransient = options.deliverTransient
    this.#maxAttempts = options.maxAttempts ?? 5
    this.#parts = options.parts ?? []
    this.#rollbackEvents = options.rollbackEvents
    this.#flushes = new FlushQueue(options.clock)
  }

  /** Runs the operation until an attempt ends other than by a conflict with another transaction. Never throws. */
  async run<Result>(accepted: Accepted<Db, Result>): Promise<AttemptResult<Result>> {
    const { request, operation } = accepted
    const { interruption } = operation
    const endWatch = this.#limits.watch(interruption, request)
    try {
      return await this.#attemptsUntilOver(accepted)
    } finally {
      endWatch()
    }
  }

  async #attemptsUntilOver<Result>({
    request,
    operation,
    trace,
  }: Accepted<Db, Result>): Promise<AttemptResult<Result>> {
    const { interruption } = operation
    const { key } = operation
    const emitNow = this.#emitNowOf(operation)
    await faultPoint('transaction.before-intent')
    const notedIn = this.#epoch()
    if (request.intent) operation.intent = this.#intents.write(key, request.since)
    // Ignore a failure until the intent is awaited, before the flush.
    if (operation.intent !== undefined) disregard(operation.intent.landed)
    if (mutationPoint('intent let go before the outcome')) operation.intent?.ended()
    // The one session belongs to the transaction from BEGIN on, so the intent has to come first. And what may have been
    // done already is not done again only to be undone.
    if (this.#database.singleSession || request.repeat === true) {
      const early = await this.#endedBefore(request, operation)
      if (early !== undefined) return early
    }
    const asked: AttemptRequest<Db, Result> = {
      key,
      log: this.#log,
      since: request.since,
      late: this.#late,
      user: request.user,
      interruption,
      guard: this.#guard,
      origin: request.origin,
      intent: operation.intent?.landed,
      notedIn,
      mode: operation.mode,
      isolation: request.isolation,
      trace,
      flushes: this.#flushes,
      emitNow,
      parts: this.#parts,
      rollbackEvents: new OperationRollbackEvents(this.#rollbackEvents, {
        key,
        intent: operation.intent?.landed,
        interruption,
      }),
      work: request.work,
    }
    for (let number = 1; ; number++) {
      const ending = await attempt(this.#database, asked)
      const code = ending.ending === 'rolled_back' ? ending.code : undefined
      const isInterrupted = interruption.reason !== undefined
      const maxAttempts = this.#maxAttempts
      const withinMs = nextAttemptWithinMs({ code, number, maxAttempts, isInterrupted })
      if (withinMs === undefined) return ending
      await pause(this.#clock, Math.random() * withinMs)
    }
  }

  /** How the operation has ended before its work begins; undefined where it is to begin. */
  async #endedBefore(
    request: Pick<RequestFacts, 'repeat'>,
    { key, intent }: OpenOperation<EndedOperation<unknown>>,
  ): Promise<Extract<AttemptResult<never>, { ending: 'known' | 'rolled_back' }> | undefined> {
    try {
      if (intent !== undefined) return (await intent.landed) ? undefined : { ending: 'known' }
      if (request.repeat !== true) return undefined
      return (await this.#outcomes.has(key)) ? { ending: 'known' } : undefined
    } catch (error) {
      return neverBegun(error)
    }
  }

  /** Sends events at once, except in `enforce`, which keeps them until the COMMIT. */
  #emitNowOf({
    key,
    mode,
  }: OpenOperation<EndedOperation<unknown>>): ((event: PendingEvent) => void) | undefined {
    if (mode === 'enforce' && !mutationPoint('event shown before it has a place')) return undefined
    return (event) => {
      const sent = { ...event, operationId: key.id, userId: key.userId, at: new Date(this.#clock.now()) }
      const stack = mode === 'observe' ? new Error('emitted before the commit').stack : undefined
      this.#deliverTransient(stack === undefined ? sent : { ...sent, stack })
    }
  }
}

import { setMaxListeners } from 'node:events'
import { faultPoint } from '../core/fault-point.ts'
import {
  disregard,
  isLockstepError,
  isOwnOperation,
  LockstepError,
  messageOf,
  operationKey,
  pause,
  waitAtMost,
  type Admission,
  type Database,
  type ErrorCode,
  type Moment,
  type Offsets,
  type OperationRef,
  type Turn,
} from '../core/index.ts'
import type { Outcome } from '../protocol/index.ts'
import type { OperationKey, PendingEvent } from '../postgres/index.ts'
import { attempt, neverBegun, type AttemptEnding, type AttemptRequest } from './attempt.ts'
import { toStoredEvents } from './committed-events.ts'
import { FlushQueue } from './flush-queue.ts'
import type { IntentWriter } from './intent-writer.ts'
import type { LateCalls } from './late-calls.ts'
import type { NodeLease } from './node-lease.ts'
import {
  FailureSettlement,
  type Ended,
  type FailureOptions,
  type RequestFacts,
} from './failure-settlement.ts'
import { HookRunner } from './hook-runner.ts'
import { OpenOperation } from './open-operation.ts'
import type { OperationGuard } from './operation-guard.ts'
import { OperationTrace } from './operation-trace.ts'
import type { Rollout } from './rollout.ts'
import { assertSameInput, positionsIn, type Claim } from './stored-outcomes.ts'
import type { Transaction } from './transaction.ts'
import { WorkLimits, type WorkLimit } from './work-limits.ts'

/** One operation, ready to run: validated and authorized. */
export interface OperationRequest<Db, Result> extends RequestFacts, WorkLimit {
  /** When the call may have come at the earliest; see `earliestArrival`. */
  readonly since: Moment
  /** Digest of name and input. */
  readonly inputHash: string
  /**
   * False: no durable note is written at the start. When the process dies before the end, the user is told only
   * by the answer to the client's own question, and not by a notice.
   */
  readonly intent: boolean
  /** Where it was called, in development. */
  readonly origin?: Error | undefined
  readonly work: (tx: Transaction<Db>) => Promise<Result>
}

export interface CoordinatorOptions<Db> extends Omit<FailureOptions, 'giveUp' | 'hooks'> {
  readonly database: Database<Db>
  readonly intents: IntentWriter
  readonly late: LateCalls
  readonly lease: NodeLease
  readonly rollout: Pick<Rollout, 'modeOf'>
  /** In development. */
  readonly guard?: OperationGuard | undefined
  /** Of the history that this node serves. */
  readonly epoch: () => string
  /** Whose turn it is for a connection. */
  readonly admission: Admission
  /**
   * Attempts in all at an operation that meets serialization failures or deadlocks. Default 5. One that met a read-only
   * server has a second one, over a connection that was made since.
   */
  readonly maxAttempts?: number
}

interface Accepted<Db, Result> {
  readonly request: OperationRequest<Db, Result>
  readonly operation: OpenOperation<Ended<unknown>>
  readonly trace: OperationTrace
  readonly turn: Turn | undefined
}

/** Runs operations: one transaction, one outcome, and its user is told. */
export class TransactionCoordinator<Db> {
  readonly #options: CoordinatorOptions<Db>
  /** By `operationKey`, until the outcome stands in the database. */
  readonly #open = new Map<string, OpenOperation<Ended<unknown>>>()
  readonly #limits = new WorkLimits()
  readonly #giveUp = new AbortController()
  readonly #hooks: HookRunner
  readonly #failures: FailureSettlement
  readonly #flushes: FlushQueue
  #stopping = false

  constructor(options: CoordinatorOptions<Db>) {
    this.#options = options
    this.#flushes = new FlushQueue(options.clock)
    this.#hooks = new HookRunner(options)
    this.#failures = new FailureSettlement({ ...options, giveUp: this.#giveUp.signal, hooks: this.#hooks })
    // Every open operation may listen; Node takes more than ten listeners for a leak.
    setMaxListeners(0, this.#giveUp.signal)
  }

  /** When a call that is read now may have come at the earliest. To be asked before anything is awaited for it. */
  get earliestArrival(): Moment {
    return this.#options.lease.wasAlive
  }

  get openCount(): number {
    return this.#open.size
  }

  /** The operation that has been open longest. */
  get oldest(): { readonly name: string; readonly openMs: number } | undefined {
    for (const { key, beganAt } of this.#open.values()) {
      return { name: key.name, openMs: Math.round(this.#options.clock.monotonic() - beganAt) }
    }
    return undefined
  }

  /** Leases under which the open operations began: the node's own, and older ones that it has lost. */
  get openLeases(): readonly string[] {
    return [...new Set([...this.#open.values()].map(({ key }) => key.node))]
  }

  /** True while this process works on that operation of the user. */
  isOpen(operation: OperationRef): boolean {
    return this.#open.has(operationKey(operation))
  }

  /**
   * Runs the operation to its outcome. The same id with the same user and input has one effect: a copy gets the
   * outcome of the first.
   * @throws what means "not accepted": LS_NODE_STOPPING, LS_NODE_FENCED, LS_NODE_OVERLOADED,
   * LS_OPERATION_ID_REUSED, LS_OPERATION_EXPIRED
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
    const place = operationKey(key)
    const twin = this.#open.get(place)
    if (twin !== undefined) {
      assertSameInput(twin.key, key)
      return (await twin.answered) as Ended<Result>
    }
    this.#assertAccepting()
    // Its outcome may be forgotten, so that a copy could not be told from a new operation.
    this.#options.outcomes.assertKept(key.id)
    // Lockstep's own operations, such as a revocation, wait behind no job of the server and are never refused for load.
    const turn = isOwnOperation(key.name) ? undefined : this.#options.admission.ask(key.userId)
    const beganAt = this.#options.clock.monotonic()
    const operation = new OpenOperation<Ended<unknown>>(key, beganAt, (self) => {
      this.#open.set(place, self)
      return this.#runToItsEnd(request, self, turn)
    })
    return (await operation.answered) as Ended<Result>
  }

  /**
   * What became of an earlier call with the same id, user and input, for a copy that would be refused now; undefined
   * where none is known.
   * @throws LS_OPERATION_EXPIRED; LS_OUTCOME_PENDING while it runs on another node, or cannot be read
   */
  async recall<Result>(id: string, claim: Claim): Promise<Ended<Result> | undefined> {
    const twin = this.#open.get(operationKey({ id, userId: claim.userId }))
    if (twin !== undefined) {
      return twin.key.inputHash === claim.inputHash ? ((await twin.answered) as Ended<Result>) : undefined
    }
    const outcome = await this.#options.outcomes.recall(id, claim)
    return outcome && { outcome: outcome as Outcome<Result> }
  }

  /** Takes no more work; what runs is given `drainMs`, then rolled back, and its users are told. */
  async close(drainMs: number): Promise<void> {
    this.#stopping = true
    this.#options.admission.refuseWaiting(new LockstepError('LS_NODE_STOPPING'))
    await this.#drained(drainMs)
    const stopped = new LockstepError('LS_OPERATION_INTERRUPTED')
    for (const { interruption } of this.#open.values()) interruption.interrupt(stopped)
    await this.#drained(2_000)
    // What is left waits for a database that is away: other nodes, or the next start, settle it.
    // Whoever has no answer yet may not take that for a refusal.
    this.#giveUp.abort(new LockstepError('LS_OUTCOME_PENDING'))
    await this.#options.intents.close()
  }

  #assertAccepting(): void {
    const { database, lease } = this.#options
    if (this.#stopping) throw new LockstepError('LS_NODE_STOPPING')
    // With one session there is no other node, and the new lease waits for it behind everything else.
    if (lease.state === 'lost' && !database.singleSession) throw new LockstepError('LS_NODE_FENCED')
    if (lease.state === 'starting' || lease.state === 'released') throw new LockstepError('LS_NODE_STOPPING')
  }

  /**
   * Errors of the catalogue are answers. Anything else broke on the way (a logger that throws, say), and must not
   * leave the operation open: while this node lives, nobody else would settle it.
   */
  async #runToItsEnd<Result>(
    request: OperationRequest<Db, Result>,
    operation: OpenOperation<Ended<unknown>>,
    turn: Turn | undefined,
  ): Promise<Ended<unknown>> {
    let trace: OperationTrace | undefined
    try {
      if (turn?.granted !== undefined) await this.#waitFor(turn.granted, operation)
      let ended: Ended<unknown>
      try {
        const mode = this.#options.rollout.modeOf(request.name, request.user)
        operation.mode = typeof mode === 'string' ? mode : await mode
        trace = new OperationTrace({ id: request.id, name: request.name, mode: operation.mode })
        ended = await this.#run({ request, operation, trace, turn })
      } catch (error) {
        if (isLockstepError(error)) throw error
        ended = await this.#failures.settleBroken(request, operation, error)
      }
      operation.intent?.ended()
      return ended
    } catch (error) {
      // It stands, as somebody else's. Any other error leaves the intent to whoever settles it.
      if (isLockstepError(error, 'LS_OPERATION_ID_REUSED')) operation.intent?.ended()
      throw error
    } finally {
      this.#open.delete(operationKey(operation.key))
      turn?.end()
      this.#endTrace(trace)
    }
  }

  /** The outcome stands: what a tracer throws must not take the answer's place. */
  #endTrace(trace: OperationTrace | undefined): void {
    try {
      trace?.ended()
    } catch (error) {
      this.#options.logger.warn({ error: messageOf(error) }, 'the span of an operation was not ended')
    }
  }

  /** Nothing has begun yet: whoever is refused here was not accepted. */
  async #waitFor(granted: Promise<void>, { key }: OpenOperation<Ended<unknown>>): Promise<void> {
    await granted
    this.#assertAccepting()
    // Under a lease that was lost meanwhile, others would settle it while it runs.
    if (key.node !== this.#options.lease.node) throw new LockstepError('LS_NODE_FENCED')
  }

  async #run<Result>(accepted: Accepted<Db, Result>): Promise<Ended<unknown>> {
    const { request, operation, trace, turn } = accepted
    const { announce, outcomes } = this.#options
    const ending = await this.#attempts(accepted)
    turn?.release()
    if (ending.ending === 'known') {
      // The outcome stands, whether or not it can be read now.
      operation.intent?.ended()
      return this.#failures.orPending(operation, async () => ({
        outcome: await outcomes.find(request.id, operation.key),
      }))
    }
    if (ending.ending !== 'committed') {
      const ended = await this.#failures.settle(request, operation, ending)
      trace.settled(ended.outcome.outcome, ending.code)
      return ended
    }
    this.#reportCommitted(operation, ending.flushed.offsets)
    const epoch = ending.epoch ?? this.#options.epoch()
    trace.publish(toStoredEvents(request.id, ending.events, ending.flushed), (events) =>
      announce(events, epoch),
    )
    trace.settled('committed')
    const facts = { operationId: request.id, operation: request.name, ending: ending.ending }
    this.#hooks.run(ending.hooksOf('committed'), facts)
    await faultPoint('transaction.before-reply')
    return {
      outcome: {
        outcome: 'committed',
        operationId: request.id,
        result: ending.result,
        positions: positionsIn(epoch, ending.flushed.offsets),
      },
    }
  }

  async #attempts<Result>(accepted: Accepted<Db, Result>): Promise<AttemptEnding<Result>> {
    const { request, operation } = accepted
    const { interruption } = operation
    const endWatch = this.#limits.watch(interruption, request)
    try {
      return await this.#attemptsUntilOver(accepted)
    } finally {
      endWatch()
    }
  }

  /** Attempts until one ends other than by a conflict with another transaction. */
  async #attemptsUntilOver<Result>({
    request,
    operation,
    trace,
  }: Accepted<Db, Result>): Promise<AttemptEnding<Result>> {
    const { interruption } = operation
    const { key } = operation
    const { database, clock, guard, late, maxAttempts = 5 } = this.#options
    const emitNow = this.#emitNowOf(operation)
    await faultPoint('transaction.before-intent')
    if (request.intent) operation.intent = this.#options.intents.write(key, request.since)
    // Awaited before the flush; until then a failure is nobody's.
    if (operation.intent !== undefined) disregard(operation.intent.landed)
    // The one session belongs to the transaction from BEGIN on, so the intent has to come first. And what may have been
    // done already is not done again only to be undone.
    if (database.singleSession || request.repeat === true) {
      const early = await this.#endedBefore(request, operation)
      if (early !== undefined) return early
    }
    const asked: AttemptRequest<Db, Result> = {
      key,
      since: request.since,
      late,
      user: request.user,
      interruption,
      guard,
      origin: request.origin,
      intent: operation.intent?.landed,
      mode: operation.mode,
      trace,
      flushes: this.#flushes,
      emitNow,
      work: request.work,
    }
    for (let number = 1; ; number++) {
      const ending = await attempt(database, asked)
      const most = ending.ending === 'rolled_back' ? mostAttempts(ending.code, maxAttempts) : 1
      if (number >= most || interruption.reason !== undefined) return ending
      await pause(clock, Math.random() * 10 * 2 ** number)
    }
  }

  /** How the operation has ended before its work begins; undefined where it is to begin. */
  async #endedBefore(
    request: Pick<RequestFacts, 'repeat'>,
    { key, intent }: OpenOperation<Ended<unknown>>,
  ): Promise<Extract<AttemptEnding<never>, { ending: 'known' | 'rolled_back' }> | undefined> {
    try {
      if (intent !== undefined) return (await intent.landed) ? undefined : { ending: 'known' }
      if (request.repeat !== true) return undefined
      return (await this.#options.outcomes.has(key)) ? { ending: 'known' } : undefined
    } catch (error) {
      return neverBegun(error)
    }
  }

  /** Only `enforce` keeps events until the COMMIT. */
  #emitNowOf({ key, mode }: OpenOperation<Ended<unknown>>): ((event: PendingEvent) => void) | undefined {
    if (mode === 'enforce') return undefined
    const { announceTransient, clock } = this.#options
    return (event) => {
      const sent = { ...event, operationId: key.id, userId: key.userId, at: new Date(clock.now()) }
      const stack = mode === 'observe' ? new Error('emitted before the commit').stack : undefined
      announceTransient(stack === undefined ? sent : { ...sent, stack })
    }
  }

  #reportCommitted(operation: OpenOperation<Ended<unknown>>, offsets: Offsets): void {
    const { probe, clock } = this.#options
    if (!probe.isOn) return
    const { key, mode, beganAt } = operation
    probe.ended({
      operationId: key.id,
      operation: key.name,
      userId: key.userId,
      mode,
      outcome: 'committed',
      beganAt,
      endedAt: clock.monotonic(),
      offsets,
      isTold: false,
    })
  }

  async #drained(timeoutMs: number): Promise<void> {
    const operations = [...this.#open.values()].map(({ ended }) => ended)
    await waitAtMost(
      this.#options.clock,
      timeoutMs,
      Promise.all(operations).then(() => this.#hooks.idle()),
    )
  }
}

function mostAttempts(code: ErrorCode, maxAttempts: number): number {
  if (code === 'LS_SERIALIZATION_FAILURE') return maxAttempts
  return code === 'LS_DATABASE_READ_ONLY' ? Math.min(2, maxAttempts) : 1
}

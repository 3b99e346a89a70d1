import { setMaxListeners } from 'node:events'
import { faultPoint } from '../../core/fault-point.ts'
import {
  isLockstepError,
  isOwnOperation,
  isServerUser,
  LockstepError,
  messageOf,
  operationKey,
  waitAtMost,
  type Admission,
  type Database,
  type Moment,
  type Offsets,
  type OperationRef,
  type Turn,
} from '../../core/index.ts'
import type { NodeLease } from '../../cluster/index.ts'
import type { OperationKey } from '../../postgres/index.ts'
import type { Outcome } from '../../protocol/index.ts'
import type { Rollout } from '../../rollout/index.ts'
import { assertSameInput, positionsIn, type Claim } from '../settle/stored-outcomes.ts'
import { Attempts, type Accepted, type AttemptsOptions, type OperationRequest } from './attempts.ts'
import { FailureSettlement, type EndedOperation, type FailureOptions } from './failure-settlement.ts'
import { HookRunner } from './hook-runner.ts'
import { OpenOperation } from './open-operation.ts'
import { OperationTrace } from './operation-trace.ts'

export interface CoordinatorOptions<Db>
  extends Omit<FailureOptions, 'giveUp' | 'hooks'>, AttemptsOptions<Db> {
  readonly database: Database<Db>
  readonly lease: NodeLease
  readonly rollout: Pick<Rollout, 'modeOf'>
  /** Decides whose turn it is for a connection. */
  readonly admission: Admission
}

interface Admitted<Db, Result> extends Accepted<Db, Result> {
  readonly turn: Turn | undefined
}

/** Runs operations: one transaction, one outcome, and a notice for its user where it is rolled back. */
export class TransactionCoordinator<Db> {
  readonly #options: CoordinatorOptions<Db>
  /** Open operations by `operationKey`, until the outcome stands in the database. */
  readonly #open = new Map<string, OpenOperation<EndedOperation<unknown>>>()
  readonly #giveUp = new AbortController()
  readonly #hooks: HookRunner
  readonly #failures: FailureSettlement
  readonly #attempts: Attempts<Db>
  #stopping = false

  constructor(options: CoordinatorOptions<Db>) {
    this.#options = options
    this.#attempts = new Attempts(options)
    this.#hooks = new HookRunner(options)
    this.#failures = new FailureSettlement({ ...options, giveUp: this.#giveUp.signal, hooks: this.#hooks })
    // Every open operation may listen; Node takes more than ten listeners for a leak.
    setMaxListeners(0, this.#giveUp.signal)
  }

  /** Earliest arrival of a call that is read now. Ask for it before anything is awaited for the call. */
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
   * @throws errors that mean "not accepted": LS_NODE_STARTING, LS_NODE_STOPPING, LS_NODE_FENCED, LS_NODE_OVERLOADED,
   * LS_OPERATION_ID_REUSED, LS_OPERATION_EXPIRED
   * @throws LS_OUTCOME_PENDING when the outcome is not known within `pendingAfterMs`; it is still found and told
   */
  async run<Result>(request: OperationRequest<Db, Result>): Promise<EndedOperation<Result>> {
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
      return (await twin.answered) as EndedOperation<Result>
    }
    this.#assertAccepting()
    // Refuse an id whose outcome may be forgotten: a copy could not be told from a new operation.
    this.#options.outcomes.assertKept(key.id)
    // Lockstep's own operations, such as a revocation, wait behind no job of the server and are never refused for load.
    const isOfServer = isOwnOperation(key.name) && isServerUser(request.user)
    const turn = isOfServer ? undefined : this.#options.admission.ask(key.userId)
    const beganAt = this.#options.clock.monotonic()
    const operation = new OpenOperation<EndedOperation<unknown>>(key, beganAt, (self) => {
      self.isQuiet = request.isQuiet === true
      this.#open.set(place, self)
      return this.#runToItsEnd(request, self, turn)
    })
    return (await operation.answered) as EndedOperation<Result>
  }

  /**
   * Finds the end of an earlier call with the same id, user and input, for a copy that would be refused now; undefined
   * where none is known.
   * @throws LS_OPERATION_EXPIRED; LS_OUTCOME_PENDING while it runs on another node, or cannot be read
   */
  async recall<Result>(id: string, claim: Claim): Promise<EndedOperation<Result> | undefined> {
    const twin = this.#open.get(operationKey({ id, userId: claim.userId }))
    if (twin !== undefined) {
      return twin.key.inputHash === claim.inputHash
        ? ((await twin.answered) as EndedOperation<Result>)
        : undefined
    }
    const outcome = await this.#options.outcomes.recall(id, claim)
    return outcome && { outcome: outcome as Outcome<Result> }
  }

  /** Takes no more work; what runs is given `drainMs`, then rolled back, and its users get their notices. */
  async close(drainMs: number): Promise<void> {
    this.#stopping = true
    this.#options.admission.refuseWaiting(new LockstepError('LS_NODE_STOPPING'))
    await this.#drained(drainMs)
    const stopped = new LockstepError('LS_OPERATION_INTERRUPTED')
    for (const { interruption } of this.#open.values()) interruption.interrupt(stopped)
    await this.#drained(2_000)
    // Operations left now wait for a database that is away: other nodes, or the next start, settle them.
    // LS_OUTCOME_PENDING tells their callers not to take the silence for a refusal.
    this.#giveUp.abort(new LockstepError('LS_OUTCOME_PENDING'))
    await this.#options.intents.close()
  }

  #assertAccepting(): void {
    const { database, lease } = this.#options
    if (this.#stopping) throw new LockstepError('LS_NODE_STOPPING')
    // A single session has no other node, and the new lease waits for it behind everything else.
    if (lease.state === 'lost' && !database.singleSession) throw new LockstepError('LS_NODE_FENCED')
    if (lease.state === 'starting') throw new LockstepError('LS_NODE_STARTING')
    if (lease.state === 'released') throw new LockstepError('LS_NODE_STOPPING')
  }

  /**
   * Errors of the catalogue are answers. Anything else broke on the way (a logger that throws, say), and must not
   * leave the operation open: while this node lives, nobody else would settle it.
   */
  async #runToItsEnd<Result>(
    request: OperationRequest<Db, Result>,
    operation: OpenOperation<EndedOperation<unknown>>,
    turn: Turn | undefined,
  ): Promise<EndedOperation<unknown>> {
    let trace: OperationTrace | undefined
    try {
      if (turn?.granted !== undefined) await this.#waitFor(turn.granted, operation)
      let ended: EndedOperation<unknown>
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
      // End the intent of a reused id: its outcome is that of another operation. After any other error the intent
      // stays, for the settlement.
      if (isLockstepError(error, 'LS_OPERATION_ID_REUSED')) operation.intent?.ended()
      throw error
    } finally {
      this.#open.delete(operationKey(operation.key))
      this.#options.rollbackEvents.forget(operation.key)
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

  /** Waits for the slot, before any work has begun: a caller refused here was not accepted. */
  async #waitFor(granted: Promise<void>, { key }: OpenOperation<EndedOperation<unknown>>): Promise<void> {
    await granted
    this.#assertAccepting()
    // Other nodes would settle an operation under a lost lease while it runs.
    if (key.node !== this.#options.lease.node) throw new LockstepError('LS_NODE_FENCED')
  }

  async #run<Result>(accepted: Admitted<Db, Result>): Promise<EndedOperation<unknown>> {
    const { request, operation, trace, turn } = accepted
    const { deliver, outcomes } = this.#options
    const ending = await this.#attempts.run(accepted)
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
    const { landed } = ending
    this.#reportCommitted(operation, landed.offsets)
    const epoch = ending.epoch ?? this.#options.epoch()
    trace.publish(landed.events, (events) => deliver(events, epoch))
    ending.notifyParts((part, error) => {
      const message = 'a part failed when it was told of a commit'
      this.#options.logger.error({ operationId: request.id, part, error }, message)
    })
    trace.settled('committed')
    const facts = { operationId: request.id, operation: request.name, ending: ending.ending }
    this.#hooks.run(ending.hooksOf('committed'), facts)
    await faultPoint('transaction.before-reply')
    return {
      outcome: {
        outcome: 'committed',
        operationId: request.id,
        result: ending.result,
        positions: positionsIn(epoch, landed.offsets),
      },
    }
  }

  #reportCommitted(operation: OpenOperation<EndedOperation<unknown>>, offsets: Offsets): void {
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
      isNotified: false,
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

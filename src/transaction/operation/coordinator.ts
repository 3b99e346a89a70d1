import {
  isOwnOperation,
  isServerUser,
  LockstepError,
  waitAtMost,
  type Admission,
  type Clock,
  type Moment,
  type OperationRef,
  type Turn,
} from '../../core/index.ts'
import type { NodeLease } from '../../cluster/index.ts'
import type { OperationKey } from '../../postgres/index.ts'
import type { Outcome } from '../../protocol/index.ts'
import type { IntentWriter } from '../intents/intent-writer.ts'
import type { RollbackEventWriter } from '../parts/rollback-event-writer.ts'
import { assertSameInput, type Claim, type StoredOutcomes } from '../settle/stored-outcomes.ts'
import type { OperationExecution } from './execution.ts'
import type { HookRunner } from './hook-runner.ts'
import { OpenOperation } from './open-operation.ts'
import { OpenOperations } from './open-operations.ts'
import type { EndedOperation, OperationRequest } from './operation-request.ts'

/** Collaborators of the coordinator. */
export interface Coordination<Db> {
  readonly execution: OperationExecution<Db>
  readonly lease: NodeLease
  /** Decides whose turn it is for a connection. */
  readonly admission: Admission
  readonly intents: IntentWriter
  readonly rollbackEvents: RollbackEventWriter
  readonly outcomes: StoredOutcomes
  readonly hooks: HookRunner
  readonly clock: Clock
  /** Ends the search for outcomes that are not known. */
  readonly giveUp: AbortController
  /** Whether the database has one session, which then has no other node. */
  readonly isSingleSession: boolean
}

/** Runs operations: one transaction, one outcome, and a notice for its user where it is rolled back. */
export class TransactionCoordinator<Db> {
  readonly #execution: OperationExecution<Db>
  readonly #lease: NodeLease
  readonly #admission: Admission
  readonly #intents: IntentWriter
  readonly #rollbackEvents: RollbackEventWriter
  readonly #outcomes: StoredOutcomes
  readonly #hooks: HookRunner
  readonly #clock: Clock
  readonly #giveUp: AbortController
  readonly #isSingleSession: boolean
  readonly #open = new OpenOperations<EndedOperation<unknown>>()
  #stopping = false

  constructor(collaborators: Coordination<Db>) {
    this.#execution = collaborators.execution
    this.#lease = collaborators.lease
    this.#admission = collaborators.admission
    this.#intents = collaborators.intents
    this.#rollbackEvents = collaborators.rollbackEvents
    this.#outcomes = collaborators.outcomes
    this.#hooks = collaborators.hooks
    this.#clock = collaborators.clock
    this.#giveUp = collaborators.giveUp
    this.#isSingleSession = collaborators.isSingleSession
  }

  /** Earliest arrival of a call that is read now. Ask for it before anything is awaited for the call. */
  get earliestArrival(): Moment {
    return this.#lease.wasAlive
  }

  get openCount(): number {
    return this.#open.count
  }

  /** The operation that has been open longest. */
  get oldest(): { readonly name: string; readonly openMs: number } | undefined {
    const { oldest } = this.#open
    if (oldest === undefined) return undefined
    return { name: oldest.key.name, openMs: Math.round(this.#clock.monotonic() - oldest.beganAt) }
  }

  /** Leases under which the open operations began: the node's own, and older ones that it has lost. */
  get openLeases(): readonly string[] {
    return this.#open.leases
  }

  /** True while this process works on that operation of the user. */
  isOpen(operation: OperationRef): boolean {
    return this.#open.find(operation) !== undefined
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
      node: this.#lease.node,
      inputHash: request.inputHash,
    }
    const twin = this.#open.find(key)
    if (twin !== undefined) {
      assertSameInput(twin.key, key)
      return (await twin.answered) as EndedOperation<Result>
    }
    this.#assertAccepting()
    // Refuse an id whose outcome may be forgotten: a copy could not be told from a new operation.
    this.#outcomes.assertKept(key.id)
    // Lockstep's own operations, such as a revocation, wait behind no job of the server and are never refused for load.
    const isOfServer = isOwnOperation(key.name) && isServerUser(request.user)
    const turn = isOfServer ? undefined : this.#admission.ask(key.userId)
    const beganAt = this.#clock.monotonic()
    const operation = new OpenOperation<EndedOperation<unknown>>(key, beganAt, (self) => {
      self.isQuiet = request.isQuiet === true
      this.#open.add(self)
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
    const twin = this.#open.find({ id, userId: claim.userId })
    if (twin !== undefined) {
      return twin.key.inputHash === claim.inputHash
        ? ((await twin.answered) as EndedOperation<Result>)
        : undefined
    }
    const outcome = await this.#outcomes.recall(id, claim)
    return outcome && { outcome: outcome as Outcome<Result> }
  }

  /** Takes no more work; what runs is given `drainMs`, then rolled back, and its users get their notices. */
  async close(drainMs: number): Promise<void> {
    this.#stopping = true
    this.#admission.refuseWaiting(new LockstepError('LS_NODE_STOPPING'))
    await this.#drained(drainMs)
    const stopped = new LockstepError('LS_OPERATION_INTERRUPTED')
    this.#open.interruptAll(stopped)
    await this.#drained(2_000)
    // Operations left now wait for a database that is away: other nodes, or the next start, settle them.
    // LS_OUTCOME_PENDING tells their callers not to take the silence for a refusal.
    this.#giveUp.abort(new LockstepError('LS_OUTCOME_PENDING'))
    await this.#intents.close()
  }

  #assertAccepting(): void {
    const lease = this.#lease
    if (this.#stopping) throw new LockstepError('LS_NODE_STOPPING')
    // A single session has no other node, and the new lease waits for it behind everything else.
    if (lease.state === 'lost' && !this.#isSingleSession) throw new LockstepError('LS_NODE_FENCED')
    if (lease.state === 'starting') throw new LockstepError('LS_NODE_STARTING')
    if (lease.state === 'released') throw new LockstepError('LS_NODE_STOPPING')
  }

  async #runToItsEnd<Result>(
    request: OperationRequest<Db, Result>,
    operation: OpenOperation<EndedOperation<unknown>>,
    turn: Turn | undefined,
  ): Promise<EndedOperation<unknown>> {
    try {
      if (turn?.granted !== undefined) await this.#waitFor(turn.granted, operation)
      return await this.#execution.run(request, operation, turn)
    } finally {
      this.#open.remove(operation)
      this.#rollbackEvents.forget(operation.key)
      turn?.end()
    }
  }

  /** Waits for the slot, before any work has begun: a caller refused here was not accepted. */
  async #waitFor(granted: Promise<void>, { key }: OpenOperation<EndedOperation<unknown>>): Promise<void> {
    await granted
    this.#assertAccepting()
    // Other nodes would settle an operation under a lost lease while it runs.
    if (key.node !== this.#lease.node) throw new LockstepError('LS_NODE_FENCED')
  }

  async #drained(timeoutMs: number): Promise<void> {
    const ended = this.#open.ended().then(() => this.#hooks.idle())
    await waitAtMost(this.#clock, timeoutMs, ended)
  }
}

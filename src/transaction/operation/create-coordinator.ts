import { setMaxListeners } from 'node:events'
import type { Admission, Clock, Database, Logger, Probe } from '../../core/index.ts'
import type { NodeLease } from '../../cluster/index.ts'
import type { TransientEvent } from '../../feeds/index.ts'
import type { LogAppender, StoredEvent } from '../../log/index.ts'
import type { Rollout } from '../../rollout/index.ts'
import type { IntentWriter } from '../intents/intent-writer.ts'
import type { LateCalls } from '../intents/late-calls.ts'
import type { Part } from '../parts/part.ts'
import type { RollbackEventWriter } from '../parts/rollback-event-writer.ts'
import type { Settler } from '../settle/settlement.ts'
import type { StoredOutcomes } from '../settle/stored-outcomes.ts'
import { Attempts } from './attempts.ts'
import { CommitDelivery } from './commit-delivery.ts'
import { TransactionCoordinator } from './coordinator.ts'
import { OperationExecution } from './execution.ts'
import { FailureSettlement } from './failure-settlement.ts'
import { HookRunner } from './hook-runner.ts'
import type { OperationGuard } from './operation-guard.ts'
import { OperationReports } from './operation-reports.ts'
import { PendingAnswer } from './pending-answer.ts'

/** Wait of a caller for an outcome that is not known yet, in milliseconds, before it is told so. */
const pendingAfterMs = 5_000

/** Neighbours of the operations: other rooms, and the other wings of this one. */
export interface CoordinatorOptions<Db> {
  readonly database: Database<Db>
  readonly log: LogAppender
  readonly lease: NodeLease
  readonly rollout: Pick<Rollout, 'modeOf'>
  /** Decides whose turn it is for a connection. */
  readonly admission: Admission
  readonly intents: IntentWriter
  readonly late: LateCalls
  readonly rollbackEvents: RollbackEventWriter
  readonly settler: Settler
  readonly outcomes: StoredOutcomes
  readonly clock: Clock
  readonly logger: Logger
  readonly probe: Probe
  /** Parts of an operation beside its events, in the order of their rows. Default: none. */
  readonly parts?: readonly Part<unknown>[]
  /** Set in development only. */
  readonly guard?: OperationGuard | undefined
  /** Epoch of the history that this node serves. */
  readonly epoch: () => string
  /** Takes committed events to their subscribers. */
  readonly deliver: (events: readonly StoredEvent[], epoch: string) => void
  /** Shows at once what is in no log: events that a mode lets leave early, and notices that are not durable yet. */
  readonly deliverTransient: (event: TransientEvent) => void
}

/** Wires what runs operations: each class is handed what it needs, and no more. */
export function createCoordinator<Db>(options: CoordinatorOptions<Db>): TransactionCoordinator<Db> {
  const { database, log, intents, late, rollbackEvents, outcomes, clock, logger, epoch } = options
  const { lease, admission, deliverTransient } = options
  const giveUp = new AbortController()
  // Every open operation may listen; Node takes more than ten listeners for a leak.
  setMaxListeners(0, giveUp.signal)
  const { guard, parts } = options
  const attempts = new Attempts({
    database,
    log,
    clock,
    intents,
    late,
    outcomes,
    rollbackEvents,
    guard,
    parts,
    epoch,
    deliverTransient,
  })
  const pending = new PendingAnswer(clock, pendingAfterMs)
  const hooks = new HookRunner({ logger })
  const reports = new OperationReports(options.probe, clock)
  const deliveries = new CommitDelivery({ log, logger, deliver: options.deliver })
  const failures = new FailureSettlement({
    settler: options.settler,
    outcomes,
    clock,
    logger,
    reports,
    deliveries,
    hooks,
    pending,
    deliverTransient,
    giveUp: giveUp.signal,
  })
  const { rollout } = options
  const execution = new OperationExecution({
    rollout,
    attempts,
    failures,
    outcomes,
    pending,
    deliveries,
    reports,
    hooks,
    logger,
    epoch,
  })
  return new TransactionCoordinator({
    execution,
    lease,
    admission,
    intents,
    rollbackEvents,
    outcomes,
    hooks,
    clock,
    giveUp,
    isSingleSession: database.singleSession,
  })
}

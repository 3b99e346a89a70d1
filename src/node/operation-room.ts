import type { NodeLease } from '../cluster/index.ts'
import type { Admission, Database, Probe } from '../core/index.ts'
import type { Deliveries } from '../feeds/index.ts'
import type { LogAppender } from '../log/index.ts'
import type { Rollout } from '../rollout/index.ts'
import {
  createCoordinator,
  IntentWriter,
  LateCalls,
  OrphanWatch,
  OutcomeAnswers,
  RollbackEventWriter,
  Settler,
  StoredOutcomes,
  type OperationGuard,
  type Part,
  type TransactionCoordinator,
} from '../transaction/index.ts'
import { closedIdRetentionMs, operationRetentionMs, type Base, type Durations } from './durations.ts'
import type { Callables } from './rpc.ts'

interface OperationRooms<Db> extends Base {
  readonly database: Database<Db>
  readonly log: LogAppender
  readonly lease: NodeLease
  readonly rollout: Rollout
  readonly admission: Admission
  readonly probe: Probe
  readonly deliveries: Pick<Deliveries, 'deliver' | 'deliverTransient'>
  readonly guard: OperationGuard | undefined
  readonly parts: readonly Part<unknown>[]
  readonly epoch: () => string
}

/** Makes the room that runs operations, settles them, and answers how they have ended. */
export function createOperations<Db>(
  rooms: OperationRooms<Db>,
  callables: Pick<Callables, 'rollbackOf'>,
  durations: Durations,
): {
  readonly coordinator: TransactionCoordinator<Db>
  readonly settler: Settler
  readonly answers: OutcomeAnswers
  readonly orphans: OrphanWatch
} {
  const { own, schema, clock, logger, database, log, lease, rollout, admission, probe, guard, parts, epoch } =
    rooms
  const { deliver, deliverTransient } = rooms.deliveries
  const { ownConnections } = database
  const base: Base = { own, schema, clock, logger }
  const late = new LateCalls({ clock, lateAfterMs: closedIdRetentionMs(durations) / 2 })
  const rollbackEvents = new RollbackEventWriter({ ...base, inMemory: database.singleSession })
  const settler = new Settler({ ...base, log, ownConnections, rollbackEvents, deliver })
  const outcomes = new StoredOutcomes({ ...base, log, retentionMs: operationRetentionMs(durations) })
  const coordinator = createCoordinator({
    guard,
    parts,
    rollbackEvents,
    database,
    log,
    intents: new IntentWriter({ ...base, late }),
    late,
    settler,
    outcomes,
    lease,
    rollout,
    admission,
    clock,
    logger,
    probe,
    epoch,
    deliver,
    deliverTransient,
  })
  const orphans = new OrphanWatch({
    ...base,
    settler,
    probe,
    rollbackOf: (name) => callables.rollbackOf(name),
    openLeases: () => coordinator.openLeases,
  })
  return { coordinator, settler, answers: new OutcomeAnswers(outcomes, settler, clock), orphans }
}

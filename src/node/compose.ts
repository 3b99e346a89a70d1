import { RevocationFeed, revocations } from '../auth/index.ts'
import { NodeBus } from '../bus/index.ts'
import { EpochWatch, type NodeLease } from '../cluster/index.ts'
import {
  ChannelRegistry,
  detach,
  ProbeRelay,
  systemClock,
  type Admission,
  type Clock,
  type Database,
  type UserContext,
} from '../core/index.ts'
import type { DraftWriter } from '../drafts/index.ts'
import { Deliveries, EventHub, OngoingReader } from '../feeds/index.ts'
import { createGateway, type Gateway } from '../gateway/index.ts'
import { createCountedLog, type CreateLog, type LogReader, type Retention } from '../log/index.ts'
import { isMeasuring } from '../monitor/index.ts'
import { thrownErrorCode } from '../postgres/index.ts'
import { Rollout } from '../rollout/index.ts'
import { RunsPart, type Runs } from '../runs/index.ts'
import {
  UserScope,
  type OperationGuard,
  type OrphanWatch,
  type Part,
  type TransactionCoordinator,
} from '../transaction/index.ts'
import { toAuthenticator } from './authenticator.ts'
import { createDrafts, openDrafts, stepDrafts } from './draft-room.ts'
import { assertDurations, createRetention, eventRetentionMs, type Base } from './durations.ts'
import { createAdmission, createGuard, isProduction, loggerOf } from './guards.ts'
import { NodeLife } from './life.ts'
import { Health } from './monitoring.ts'
import type { LockstepOptions } from './options.ts'
import { createOperations } from './operation-room.ts'
import { createRpc, type Callables } from './rpc.ts'
import { busOf, createLease } from './from-options.ts'
import { createRuns } from './run-room.ts'
import { nodeHealth, operationStatus } from './status.ts'

/** All rooms of one node, made and wired. */
export interface Rooms<Db> {
  readonly clock: Clock
  readonly life: NodeLife
  readonly database: Database<Db>
  readonly admission: Admission
  readonly scope: UserScope<Db>
  readonly lease: NodeLease
  readonly rollout: Rollout
  readonly hub: EventHub
  readonly bus: NodeBus
  readonly deliveries: Deliveries
  /** Set in development only. */
  readonly guard: OperationGuard | undefined
  readonly coordinator: TransactionCoordinator<Db>
  readonly runs: Runs<Db>
  readonly drafts: DraftWriter
  readonly orphans: OrphanWatch
  readonly retention: Retention
  readonly channels: ChannelRegistry
  readonly gateway: Gateway
  readonly revocations: RevocationFeed
  readonly health: Health
}

/** All connections of a node at once would be a storm. */
const reconnectOverMs = 5_000

/**
 * Makes the rooms of a node, each after the rooms that it uses: the probe first, since all report to it, and the monitor
 * that hears the probe last. Each room says here what is to be done when the node starts, in this order.
 * @throws LS_CONFIG_INVALID
 */
export function composeRooms<Db>(
  options: LockstepOptions<Db>,
  callables: Callables,
  otherParts: readonly Part<unknown>[],
  createLog: CreateLog = createCountedLog,
): Rooms<Db> {
  const { database, clock = systemClock } = options
  assertDurations(options)
  const logger = loggerOf(options)
  const base: Base = { own: database.own, schema: database.schema, clock, logger }
  const life = new NodeLife(clock, logger)
  const probe = new ProbeRelay(options.monitor?.level !== 'off')
  life.onStart(() => database.migrate())

  const epochs = new EpochWatch(base)
  const epoch = (): string => epochs.epoch
  life.onStart(() => database.guard?.(epochs))
  const lease = createLease(base, database, epochs, options)
  life.onStart(() => lease.start())
  const rollout = new Rollout(base, options.rollout)
  life.onStart(() => rollout.start())

  const log = createLog(database.own, database.schema, epochs)
  // The tasks are declared on the room of the runs, which is made after the hub.
  const ongoing = new OngoingReader({
    ...base,
    covers: (name) => runs.mayShowOn(name) || channels.hasDrafts(name),
  })
  const hub = createHub(base, log.read, ongoing, options)
  life.onStart(() => hub.start())
  const transport = busOf(options)
  const bus = new NodeBus({ bus: transport, hub, clock, logger, probe })
  life.onStart(() => bus.start(epochs.epoch))
  // Registered behind the hub's listener: its feeds have left the bus by then.
  epochs.onChange(({ to }) => bus.follow(to))
  const deliveries = new Deliveries({ hub, publisher: transport, epoch })

  const admission = createAdmission(base, options)
  const scope = new UserScope({ database, admission, onBegin: options.onBegin })
  const guard = createGuard(logger, database)
  const runsPart = new RunsPart(database.schema)
  const drafts = createDrafts(base, lease, deliveries)
  const parts = [...otherParts, runsPart as Part<unknown>, drafts.part as Part<unknown>]
  const { coordinator, settler, answers, orphans } = createOperations(
    { ...base, database, log: log.append, lease, rollout, admission, probe, deliveries, guard, parts, epoch },
    callables,
    options,
  )
  const retention = createRetention(base, log, options)

  const channels: ChannelRegistry = new ChannelRegistry({
    checks: scope,
    logger,
    databaseCode: thrownErrorCode,
  })
  channels.declare(revocations)
  const authorizeSubscription = (user: UserContext, channel: string): Promise<void> =>
    channels.authorize(user, channel)
  const runs: Runs<Db> = createRuns(
    {
      ...base,
      epochs,
      lease,
      scope,
      part: runsPart,
      drafts: stepDrafts(base, drafts, settler),
      deliveries,
      coordinator,
      authorizeSubscription,
    },
    options,
  )
  const authenticate = toAuthenticator(options.auth, logger)
  const gateway = createGateway({
    ...options.gateway,
    clock,
    ports: {
      seesRequest: typeof options.auth === 'function',
      authenticate: async (credentials) => {
        const identity = await authenticate(credentials)
        await life.start()
        return identity
      },
      authorizeSubscription,
      events: hub,
      rpc: createRpc({
        callables,
        outcomes: (user, data) =>
          answers.answer(user, data, (id) => coordinator.isOpen({ id, userId: user.id })),
        runs: runs.calls,
        drafts: openDrafts({ ongoing, authorizeSubscription, epoch }),
        ready: life.start,
      }),
      // Clients learn no unknown names of operations in production.
      ...(isProduction() ? {} : { nearestMethod: (method: string) => callables.nearest(method) }),
      status: () => operationStatus(life, lease, database),
      // The routes ask the monitor, which hears the gateway and so is made after it.
      health: () => health.report(),
      metrics: () => health.metrics(),
      dashboard: { ...options.dashboard, data: (minutes) => health.dashboard({ minutes }) },
      ...(options.health === undefined ? {} : { authorizeHealth: options.health.authorize }),
      ...(options.metrics === undefined ? {} : { authorizeMetrics: options.metrics.authorize }),
      probe,
      logger,
    },
  })
  deliveries.onDelivered(() => gateway.flush())
  const revocationFeed = new RevocationFeed({
    events: hub,
    clock,
    logger,
    apply: (revocation) => gateway.revoke(revocation),
    missed: () => detach(gateway.grantAnew(reconnectOverMs), logger, 'asking again who may listen'),
  })
  life.onStart(() => revocationFeed.start())
  life.onStart(() => orphans.start())
  life.onStart(() => runs.start())
  life.onStart(() => retention.start())

  const unreadableAfterMs = options.unreadableAfterMs ?? 10_000
  const sources = { life, lease, database, epochs, hub, coordinator, gateway, bus, unreadableAfterMs }
  const health = new Health(
    {
      database,
      clock,
      logger,
      lease,
      hub,
      bus,
      rollout,
      coordinator,
      gateway,
      nodeHealth: () => nodeHealth(sources),
      eventRetentionMs: eventRetentionMs(options),
    },
    options.monitor,
  )
  probe.attach(health.monitor.probe)
  life.onStart(() => health.monitor.start())

  return {
    clock,
    life,
    database,
    admission,
    scope,
    lease,
    rollout,
    hub,
    bus,
    deliveries,
    guard,
    coordinator,
    runs,
    drafts: drafts.writer,
    orphans,
    retention,
    channels,
    gateway,
    revocations: revocationFeed,
    health,
  }
}

function createHub<Db>(
  { clock, logger }: Base,
  log: LogReader,
  ongoing: OngoingReader,
  { headCheckMs, unreadableAfterMs, monitor }: LockstepOptions<Db>,
): EventHub {
  return new EventHub({
    log,
    clock,
    logger,
    ongoing,
    ...(isMeasuring(monitor?.level) ? { ackSample: {} } : {}),
    ...(headCheckMs === undefined ? {} : { headCheckMs }),
    ...(unreadableAfterMs === undefined ? {} : { unreadableAfterMs }),
  })
}

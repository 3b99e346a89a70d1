import { NodeBus, postgresBus, type Bus } from './bus/index.ts'
import { ChannelRegistry } from './core/channel-registry.ts'
import {
  Admission,
  assertWholeNumbers,
  Deadline,
  detach,
  jsonLogger,
  LockstepError,
  systemClock,
  type Clock,
  type Database,
  type Logger,
  totalLogger,
  type Queryable,
} from './core/index.ts'
import { EventHub, EventLog, Retention } from './events/index.ts'
import {
  createGateway,
  createTokenAuthenticator,
  RevocationFeed,
  revocations,
  type Gateway,
  type Identity,
} from './gateway/index.ts'
import { Health } from './monitoring.ts'
import type { AdmissionLimits, LockstepOptions, NodeHealth } from './options.ts'
import {
  databaseErrorCode,
  eventPages,
  operationPages,
  trimEvents,
  trimOperations,
} from './postgres/index.ts'
import { createRpc, type Callables } from './rpc.ts'
import {
  EpochWatch,
  IntentWriter,
  LateCalls,
  NodeLease,
  OperationGuard,
  OrphanWatch,
  Rollout,
  Settler,
  StoredOutcomes,
  TransactionCoordinator,
  UserScope,
} from './transaction/index.ts'

const dayMs = 24 * 60 * 60 * 1_000
/** A copy of a call that was never heard of may be on its way for some seconds; a closed id outlives it by far. */
const leastClosedIdMs = 10 * 60 * 1_000

/** What does not depend on the driver. */
type Durations = Pick<LockstepOptions<never>, 'leaseMs' | 'eventRetentionMs' | 'operationRetentionMs'>

/** What every part is given. */
interface Base {
  readonly own: Queryable
  readonly schema: string
  readonly clock: Clock
  readonly logger: Logger
}

/**
 * The parts of one node: the only place that knows all rooms. Wires them together, starts them in order, and ends
 * them in order.
 */
export class LockstepNode<Db> {
  readonly clock: Clock
  readonly rollout: Rollout
  readonly health: Health
  readonly coordinator: TransactionCoordinator<Db>
  readonly scope: UserScope<Db>
  readonly bus: NodeBus
  readonly gateway: Gateway
  readonly revocations: RevocationFeed
  /** In development. */
  readonly guard: OperationGuard | undefined
  readonly #database: Database<Db>
  /** Who may take a connection of the pool, and when. */
  readonly admission: Admission
  readonly #logger: Logger
  readonly #epochs: EpochWatch
  readonly #lease: NodeLease
  readonly #hub: EventHub
  readonly #orphans: OrphanWatch
  readonly #unreadableAfterMs: number
  readonly #retention: Retention
  #started: Promise<void> | undefined
  #closed: Promise<void> | undefined

  /** @throws LS_CONFIG_INVALID */
  constructor(options: LockstepOptions<Db>, callables: Callables) {
    const { database, clock = systemClock } = options
    const logger = totalLogger(options.logger ?? jsonLogger)
    assertDurations(options)
    const base: Base = { own: database.own, schema: database.schema, clock, logger }
    this.#database = database
    this.admission = createAdmission(database, clock, options.admission)
    this.#unreadableAfterMs = options.unreadableAfterMs ?? 10_000
    this.scope = new UserScope({ database, admission: this.admission, onBegin: options.onBegin })
    this.#logger = logger
    this.clock = clock
    this.#epochs = new EpochWatch(base)
    this.#lease = createLease({ ...base, own: database.lease, epochs: this.#epochs }, options)
    this.rollout = new Rollout(base, options.rollout)
    this.health = this.#createHealth(base, options)
    const { probe } = this.health.monitor
    this.#hub = this.#createHub(base, options)
    const epoch = (): string => this.#epochs.epoch
    this.bus = new NodeBus({ bus: busOf(options), hub: this.#hub, epoch, clock, logger, probe })
    // Behind the hub, which began to listen first: its feeds have left the bus by then.
    this.#epochs.onChange(({ to }) => this.bus.follow(to))
    const { announce, announceTransient } = this.bus
    const settler = new Settler({ ...base, probe, announce })
    const outcomes = new StoredOutcomes({
      ...base,
      retentionMs: operationRetentionMs(options),
    })
    this.guard = createGuard(base.logger, database)
    const late = new LateCalls({ clock, lateAfterMs: closedIdRetentionMs(options) / 2 })
    this.coordinator = new TransactionCoordinator({
      guard: this.guard,
      database,
      intents: new IntentWriter({ ...base, late }),
      late,
      settler,
      outcomes,
      lease: this.#lease,
      rollout: this.rollout,
      admission: this.admission,
      clock,
      logger,
      probe,
      epoch,
      announce: (events, committedIn) => {
        announce(events, committedIn)
        // Before the caller's code goes on, which may take its time.
        this.gateway.flush()
      },
      announceTransient,
    })
    this.#orphans = new OrphanWatch({
      settler,
      clock,
      logger,
      rollbackOf: (name) => callables.rollbackOf(name),
      openLeases: () => this.coordinator.openLeases,
    })
    this.#retention = createRetention(base, options)
    this.gateway = this.#createGateway(base, options, callables, outcomes)
    this.revocations = new RevocationFeed({
      events: this.#hub,
      clock,
      logger,
      apply: (revocation) => this.gateway.revoke(revocation),
      missed: () => detach(this.gateway.grantAnew(reconnectOverMs), logger, 'asking again who may listen'),
    })
  }

  /** Once, also when called again; after a failure the next call tries again, as the database may only have been late. */
  start(): Promise<void> {
    this.#started ??= this.#start().catch((error: unknown) => {
      this.#started = undefined
      throw error
    })
    return this.#started
  }

  close(drainMs: number): Promise<void> {
    this.#closed ??= this.#close(drainMs)
    return this.#closed
  }

  async #start(): Promise<void> {
    const steps: readonly (() => void | Promise<void>)[] = [
      () => this.#database.migrate(),
      () => this.#database.guard?.(this.#epochs),
      () => this.#lease.start(),
      () => this.rollout.start(),
      () => this.#hub.start(),
      () => this.bus.start(this.#epochs.epoch),
      () => this.revocations.start(),
      () => this.#orphans.start(),
      () => this.#retention.start(),
      () => this.health.monitor.start(),
    ]
    for (const begin of steps) {
      // `close` does not wait for ever for a start that hangs, and what begins behind it would never end.
      if (this.#closed !== undefined) throw new LockstepError('LS_NODE_STOPPING')
      await begin()
    }
  }

  async #close(drainMs: number): Promise<void> {
    const deadline = new Deadline(this.clock, closeLimitMs(drainMs))
    const unfinished: string[] = []
    const step = async (name: string, work: Promise<unknown>, reserveMs: number): Promise<void> => {
      try {
        if (!(await deadline.wait(work, reserveMs))) unfinished.push(name)
      } catch (error) {
        this.#logger.warn({ error, step: name }, 'a part of the node was not closed cleanly')
      }
    }
    this.gateway.stopAccepting()
    const reserved = reservedMs(drainMs)
    await step('start', this.#started?.catch(() => {}) ?? Promise.resolve(), reserved.forOperations)
    await step('operations', this.coordinator.close(drainMs), reserved.forSockets)
    // Spread a little: clients that all come back at once are the next node's storm.
    const sockets = { drainMs: drainMs / 5, withinMs: deadline.leftMs - reserved.forParts }
    await step('sockets', this.gateway.close(sockets), reserved.forParts)
    this.revocations.close()
    this.#hub.close()
    await Promise.all([
      step('bus', this.bus.close(), reserved.forHealth),
      step('orphans', this.#orphans.close(), reserved.forHealth),
      step('retention', this.#retention.close(), reserved.forHealth),
      step('rollout', this.rollout.close(), reserved.forHealth),
    ])
    await step('health', this.health.close(), reserved.forLease)
    // Also of a node that took its lease and then could not start. One that is not given back runs out by itself.
    await step('lease', this.#lease.release(), reserved.forDatabase)
    await step('database', this.#database.close(), 0)
    if (unfinished.length > 0)
      this.#logger.warn({ unfinished }, 'the node was closed before all of its parts had ended')
  }

  #createHealth({ clock, logger }: Base, options: LockstepOptions<Db>): Health {
    const { database, monitor } = options
    return new Health(
      {
        database,
        clock,
        logger,
        node: () => this.#lease.node,
        databaseClock: this.#lease.databaseClock,
        hub: () => this.#hub,
        bus: () => this.bus,
        rollout: this.rollout,
        openOperations: () => this.coordinator.openCount,
        connections: () => this.gateway.connections(),
        outboundBytes: () => this.gateway.outboundBytes(),
        refusals: () => this.gateway.refusals,
        leaseState: () => this.#lease.state,
        nodeHealth: () => this.#nodeHealth(),
        eventRetentionMs: eventRetentionMs(options),
      },
      monitor,
    )
  }

  #createHub({ own, schema, clock, logger }: Base, options: LockstepOptions<Db>): EventHub {
    const { headCheckMs, unreadableAfterMs } = options
    return new EventHub({
      log: new EventLog(own, schema, this.#epochs),
      clock,
      logger,
      ...(this.health.monitor.isMeasuring ? { ackSample: {} } : {}),
      ...(headCheckMs === undefined ? {} : { headCheckMs }),
      ...(unreadableAfterMs === undefined ? {} : { unreadableAfterMs }),
    })
  }

  #createGateway(
    { clock, logger }: Base,
    options: LockstepOptions<Db>,
    callables: Callables,
    outcomes: StoredOutcomes,
  ): Gateway {
    const { health, metrics } = options
    const authenticate = toAuthenticator(options.auth, logger)
    const channels = new ChannelRegistry([revocations, ...(options.channels ?? [])], {
      checks: this.scope,
      logger,
      databaseCode: databaseErrorCode,
    })
    return createGateway({
      ...options.gateway,
      clock,
      ports: {
        authenticate: async (token) => {
          const identity = await authenticate(token)
          await this.start()
          return identity
        },
        authorizeSubscription: (user, channel) => channels.authorize(user, channel),
        events: this.#hub,
        rpc: createRpc({
          callables,
          outcomes: (user, data) =>
            outcomes.answer(user, data, (id) => this.coordinator.isOpen({ id, userId: user.id })),
          ready: () => this.start(),
        }),
        health: () => this.health.report(),
        status: () => this.#operationStatus(),
        ...(health === undefined ? {} : { authorizeHealth: health.authorize }),
        metrics: () => this.health.metrics(),
        ...(metrics === undefined ? {} : { authorizeMetrics: metrics.authorize }),
        dashboard: { ...options.dashboard, data: (minutes) => this.health.dashboard({ minutes }) },
        probe: this.health.monitor.probe,
        logger,
      },
    })
  }

  /** Whether this node takes operations. Channels that it cannot read leave it that. */
  #operationStatus(): NodeHealth['status'] {
    const { state } = this.#lease
    if (this.#closed !== undefined || state === 'released') return 'stopping'
    return state === 'held' && this.#database.trouble?.() === undefined ? 'ok' : 'degraded'
  }

  #nodeHealth(): NodeHealth {
    const status = this.#operationStatus()
    const { lastChange: historyChange } = this.#epochs
    const trouble = this.#database.trouble?.() ?? null
    const unreadableMs = Math.round(this.#hub.unreadableMs)
    const logUnreadableMs = unreadableMs >= this.#unreadableAfterMs ? unreadableMs : null
    return {
      status: status === 'ok' && logUnreadableMs !== null ? 'degraded' : status,
      node: this.#lease.node,
      lease: this.#lease.state,
      database: this.#database.kind,
      databaseTrouble: trouble,
      logUnreadableMs,
      openOperations: this.coordinator.openCount,
      oldestOperation: this.coordinator.oldest ?? null,
      channels: this.#hub.channelCount,
      connections: this.gateway.connections(),
      bus: this.bus.health,
      epoch: this.#epochs.epoch,
      ...(historyChange === undefined ? {} : { historyChange }),
    }
  }
}

/** Only in development; whether this is production is decided once. */
function createGuard<Db>(logger: Logger, database: Database<Db>): OperationGuard | undefined {
  if (process.env['NODE_ENV'] === 'production') return undefined
  const guard = new OperationGuard(logger)
  database.watchPool?.(() => guard.poolUsed())
  return guard
}

/** All that `close` may take, in milliseconds. */
function closeLimitMs(drainMs: number): number {
  return 1.2 * drainMs + 10_000
}

/** What each step of `close` leaves to the steps behind it, in milliseconds. */
function reservedMs(drainMs: number) {
  // Operations get their time to end, and then two seconds in which they are rolled back and their users are told.
  const forSockets = 0.2 * drainMs + 7_000
  return {
    forOperations: forSockets + drainMs + 2_200,
    forSockets,
    forParts: 2_000,
    forHealth: 1_500,
    forLease: 1_000,
    forDatabase: 500,
  }
}

function createAdmission<Db>(
  { connections }: Database<Db>,
  clock: Clock,
  options: AdmissionLimits = {},
): Admission {
  const { maxOpen, maxOpenPerUser, maxWaitMs } = options
  assertWholeNumbers({ maxOpen, maxOpenPerUser, maxWaitMs })
  return new Admission({ clock, slots: connections, maxOpen, maxOpenPerUser, maxWaitMs })
}

function createLease(base: Base & { readonly epochs: EpochWatch }, { leaseMs }: Durations): NodeLease {
  return new NodeLease({
    ...base,
    ...(leaseMs === undefined ? {} : { leaseMs, renewMs: Math.ceil(leaseMs / 3) }),
  })
}

/** All connections of a node at once would be a storm. */
const reconnectOverMs = 5_000

function busOf<Db>({ bus, database }: LockstepOptions<Db>): Bus | undefined {
  if (bus === false) return undefined
  return bus ?? (database.openSession === undefined ? undefined : postgresBus(database))
}

function assertDurations(
  options: Durations & Pick<LockstepOptions<never>, 'headCheckMs' | 'unreadableAfterMs'>,
): void {
  const { leaseMs, headCheckMs, unreadableAfterMs } = options
  const { eventRetentionMs: events, operationRetentionMs: operations } = options
  // A third of it is how often it is renewed.
  assertWholeNumbers({ leaseMs }, { least: 100 })
  assertWholeNumbers({ headCheckMs, unreadableAfterMs })
  assertWholeNumbers({ eventRetentionMs: events, operationRetentionMs: operations }, { most: 36_500 * dayMs })
}

function operationRetentionMs(options: Durations): number {
  return options.operationRetentionMs ?? 7 * dayMs
}

/** A call is late after half of it, which is far more than the two renewals of the lease that its age is good to. */
function closedIdRetentionMs({ leaseMs = 0 }: Durations): number {
  return Math.max(leastClosedIdMs, 4 * leaseMs)
}

function eventRetentionMs(options: Durations): number {
  return options.eventRetentionMs ?? dayMs
}

function createRetention({ own, schema, clock, logger }: Base, options: Durations): Retention {
  const [eventMs, outcomesMs] = [eventRetentionMs(options), operationRetentionMs(options)]
  const kept = { outcomesMs, closedIdsMs: closedIdRetentionMs(options) }
  return new Retention({
    own,
    clock,
    logger,
    tables: [
      {
        pages: () => eventPages(schema),
        trim: (page, pages) => trimEvents(schema, eventMs, page, pages),
      },
      {
        pages: () => operationPages(schema),
        trim: (page, pages) => trimOperations(schema, kept, page, pages),
      },
    ],
  })
}

function toAuthenticator(
  auth: LockstepOptions<never>['auth'],
  logger: Logger,
): (token: string) => Promise<Identity> {
  if (typeof auth === 'function') return auth
  if (auth !== undefined) return createTokenAuthenticator({ logger, ...auth })
  return () =>
    Promise.reject(
      new LockstepError('LS_UNAUTHENTICATED', {
        message: 'No connection is accepted: give createLockstep the option auth.',
      }),
    )
}

import type { Server } from 'node:http'
import { NodeBus, postgresBus } from './bus/index.ts'
import { EventHub, EventLog, Retention } from './events/index.ts'
import {
  createGateway,
  createTokenAuthenticator,
  RevocationFeed,
  revocations,
  toNodeHandler,
  type Gateway,
  type Identity,
  type NodeHandler,
  type Revocation,
} from './gateway/index.ts'
import { ChannelRegistry } from './core/channel-registry.ts'
import {
  assertOperationId,
  assertUserId,
  jsonLogger,
  LockstepError,
  newOperationId,
  systemClock,
  validateEvent,
  type Channel,
  type Clock,
  type Database,
  type EventDataOf,
  type EventSchemas,
  type Logger,
  type Schema,
} from './core/index.ts'
import { eventPages, operationPages, trimEvents, trimOperations } from './postgres/index.ts'
import { Health } from './monitoring.ts'
import type { CoordinatedOperation, LockstepOptions, NodeHealth, TransactionOptions } from './options.ts'
import { createRpc, type CallablePart } from './rpc.ts'
import {
  IntentWriter,
  NodeLease,
  Operation,
  OrphanWatch,
  Query,
  Rollout,
  Settler,
  StoredOutcomes,
  toEventJson,
  toUser,
  TransactionCoordinator,
  type OperationOptions,
  type QueryOptions,
  type RollbackOptions,
  type Transaction,
} from './transaction/index.ts'

export type Lockstep<Db> = LockstepInstance<Db>

/**
 * Wires the rooms together around one database.
 * @throws LS_CONFIG_INVALID
 */
export function createLockstep<Db>(options: LockstepOptions<Db>): Lockstep<Db> {
  return new LockstepInstance(options)
}

const dayMs = 24 * 60 * 60 * 1_000

class LockstepInstance<Db> {
  /** In which mode each operation runs: `enforce`, `observe` or `off`. */
  readonly rollout: Rollout
  /** How this node is, and how far the layers drift from the commit. */
  readonly health: Health
  readonly #database: Database<Db>
  readonly #logger: Logger
  readonly #clock: Clock
  readonly #hub: EventHub
  readonly #bus: NodeBus
  readonly #lease: NodeLease
  readonly #coordinator: TransactionCoordinator<Db>
  readonly #outcomes: StoredOutcomes
  readonly #orphans: OrphanWatch
  readonly #retention: Retention
  readonly #gateway: Gateway
  readonly #revocations: RevocationFeed
  readonly #parts = new Map<string, CallablePart>()
  #started: Promise<void> | undefined
  #closed: Promise<void> | undefined

  constructor(options: LockstepOptions<Db>) {
    const { database, clock = systemClock, logger = jsonLogger } = options
    const { own, schema } = database
    const retentionMs = options.operationRetentionMs ?? 7 * dayMs
    const channels = new ChannelRegistry([revocations, ...(options.channels ?? [])], database.db, logger)
    this.#database = database
    this.#logger = logger
    this.#clock = clock
    this.#lease = new NodeLease({
      own,
      schema,
      clock,
      logger,
      ...(options.leaseMs === undefined
        ? {}
        : { leaseMs: options.leaseMs, renewMs: Math.ceil(options.leaseMs / 3) }),
    })
    const bus = options.bus ?? (database.openSession !== undefined && postgresBus(database))
    this.rollout = new Rollout({ own, schema, clock, logger }, options.rollout)
    this.health = new Health(
      {
        database,
        clock,
        logger,
        node: () => this.#lease.node,
        databaseClock: this.#lease.databaseClock,
        hub: () => this.#hub,
        bus: () => this.#bus,
        rollout: this.rollout,
        openOperations: () => this.#coordinator.openCount,
        connections: () => this.#gateway.connections(),
        outboundBytes: () => this.#gateway.outboundBytes(),
        leaseState: () => this.#lease.state,
        nodeHealth: () => this.#nodeHealth(),
      },
      options.monitor,
    )
    const { probe } = this.health.monitor
    this.#hub = new EventHub({
      log: new EventLog(own, schema),
      clock,
      logger,
      ...(this.health.monitor.isMeasuring ? { ackSample: {} } : {}),
      ...(options.headCheckMs === undefined ? {} : { headCheckMs: options.headCheckMs }),
    })
    this.#bus = new NodeBus({ bus: bus === false ? undefined : bus, hub: this.#hub, clock, logger, probe })
    const { announce, announceTransient } = this.#bus
    const settler = new Settler({ own, schema, clock, logger, probe, announce })
    this.#outcomes = new StoredOutcomes({ own, schema, clock, epoch: () => this.#lease.epoch, retentionMs })
    this.#coordinator = new TransactionCoordinator({
      database,
      intents: new IntentWriter({ own, schema, clock, logger }),
      settler,
      outcomes: this.#outcomes,
      lease: this.#lease,
      rollout: this.rollout,
      clock,
      logger,
      probe,
      announce: (events) => {
        announce(events)
        // Before the caller's code goes on, which may take its time.
        this.#gateway.flush()
      },
      announceTransient,
    })
    this.#orphans = new OrphanWatch({
      settler,
      clock,
      logger,
      rollbackOf: (name) => this.#rollbackOf(name),
    })
    this.#retention = new Retention({
      own,
      clock,
      logger,
      tables: [
        {
          pages: () => eventPages(schema),
          trim: (page, pages) => trimEvents(schema, options.eventRetentionMs ?? dayMs, page, pages),
        },
        {
          pages: () => operationPages(schema),
          trim: (page, pages) => trimOperations(schema, retentionMs, page, pages),
        },
      ],
    })
    this.#gateway = createGateway({
      ...options.gateway,
      clock,
      ports: {
        authenticate: toAuthenticator(options.auth),
        authorizeSubscription: (user, channel) => channels.authorize(user, channel),
        events: this.#hub,
        rpc: createRpc({
          part: (name) => this.#parts.get(name),
          outcomes: (user, data) => this.#outcomes.answer(user, data, (id) => this.#coordinator.isOpen(id)),
          ready: () => this.start(),
        }),
        health: () => this.health.report(),
        metrics: () => this.health.metrics(),
        ...(options.metrics === undefined ? {} : { authorizeMetrics: options.metrics.authorize }),
        dashboard: { ...options.dashboard, data: (minutes) => this.health.dashboard({ minutes }) },
        probe,
        logger,
      },
    })
    this.#revocations = new RevocationFeed({
      events: this.#hub,
      node: this.#lease.node,
      clock,
      logger,
      apply: (revocation) => this.#gateway.revoke(revocation),
      missed: () => void this.#gateway.reauthorize(),
    })
  }

  /**
   * Migrates, takes the node's lease and begins to serve. Called by the first use if not before; call it yourself
   * to hear of a database that cannot be reached.
   * @throws LS_DATABASE_UNREACHABLE, LS_SCHEMA_NEWER
   */
  start(): Promise<void> {
    this.#started ??= this.#start().catch((error: unknown) => {
      // The next use tries again: the database may only have been late.
      this.#started = undefined
      throw error
    })
    return this.#started
  }

  /**
   * Declares a named operation, callable by clients.
   * @throws LS_CONFIG_INVALID for a name that is taken or malformed
   */
  operation<const Name extends string, InputSchema extends Schema, Result>(
    name: Name,
    options: OperationOptions<Db, InputSchema, Result>,
  ): Operation<Name, Db, InputSchema, Result> {
    const operation = new Operation(name, options, {
      db: this.#database.db,
      run: async (request) => {
        await this.start()
        return this.#coordinator.run(request)
      },
    })
    this.#declare(operation)
    return operation
  }

  /**
   * Declares a named read, callable by clients.
   * @throws LS_CONFIG_INVALID for a name that is taken or malformed
   */
  query<const Name extends string, InputSchema extends Schema, Result>(
    name: Name,
    options: QueryOptions<Db, InputSchema, Result>,
  ): Query<Name, Db, InputSchema, Result> {
    const query = new Query(name, options, this.#database)
    this.#declare(query)
    return query
  }

  /**
   * An operation without a declaration. Returns what `work` returns, after the COMMIT.
   * @throws what made it roll back, once its outcome and its user's notice stand; LS_OUTCOME_PENDING
   */
  async transaction<Result>(
    options: TransactionOptions,
    work: (tx: Transaction<Db>) => Promise<Result>,
  ): Promise<Result> {
    await this.start()
    const { outcome, error } = await this.#coordinator.run({
      id: options.id ?? newOperationId(),
      name: options.name,
      user: toUser(options.user),
      // Without a declared input, the name is all that tells one operation from another.
      inputHash: options.name,
      rollback: options.rollback ?? {},
      intent: options.intent ?? true,
      repeat: options.repeat,
      signal: options.signal,
      work,
    })
    if (outcome.outcome === 'committed') return outcome.result
    throw error ?? new LockstepError('LS_OPERATION_FAILED', { details: { notice: outcome.notice } })
  }

  /**
   * One database operation with the events and agent states that belong to it: all of them, or none.
   * @throws as `transaction`
   */
  executeCoordinatedOperation<Result>(operation: CoordinatedOperation<Db, Result>): Promise<Result> {
    const options: TransactionOptions = {
      name: operation.operationName,
      user: operation.user ?? 'system',
      ...(operation.operationId === undefined ? {} : { id: operation.operationId }),
      ...(operation.rollback === undefined ? {} : { rollback: operation.rollback }),
    }
    return this.transaction(options, async (tx) => {
      const result = await operation.databaseOperation(tx)
      const { websocketEvents = [], agentStateUpdates = [] } = operation
      const events = typeof websocketEvents === 'function' ? websocketEvents(result) : websocketEvents
      for (const event of events) tx.emit(event.channel, event.type, event.data)
      for (const update of agentStateUpdates) await update(tx)
      return result
    })
  }

  /**
   * Shows an event at once to those who listen now: outside of any transaction, without an offset, kept nowhere. For
   * code that is not to be coordinated yet; it counts as what the operation named has done.
   * @throws LS_EVENT_UNKNOWN, LS_EVENT_INVALID, LS_EVENT_TOO_LARGE, LS_OPERATION_ID_INVALID
   */
  sendNow<Events extends EventSchemas, Type extends keyof Events & string>(
    operationId: string,
    channel: Channel<Events>,
    type: Type,
    data: EventDataOf<Events, Type>,
  ): void {
    assertOperationId(operationId)
    const text = toEventJson(validateEvent(channel, type, data), type)
    this.#bus.announceTransient({
      channel: channel.name,
      type,
      operationId,
      data: text,
      at: new Date(this.#clock.now()),
    })
  }

  /** Serves the WebSocket on an existing Node HTTP server, next to whatever else it does. */
  attach(server: Server): void {
    this.#gateway.attach(server)
  }

  /** The HTTP routes, for any server that speaks fetch: `GET /lockstep/health`. */
  readonly fetch = (request: Request): Promise<Response> => this.#gateway.fetch(request)

  /** The same routes for a Node HTTP server; what is not under `/lockstep/` goes to `next`, or is answered with 404. */
  nodeHandler(next?: NodeHandler): NodeHandler {
    return toNodeHandler(this.#gateway, next)
  }

  /**
   * Takes a channel, a session or everything from a user: first change what `auth` and `canSubscribe` answer, then
   * call this. It has acted on this node's connections when it returns its promise; other nodes hear of it through
   * the log, as they hear of any event.
   * @throws LS_USER_ID_INVALID; as `transaction`, when the other nodes could not be told: call it again
   */
  async revoke(revocation: Revocation): Promise<void> {
    assertUserId(revocation.user)
    this.#gateway.revoke(revocation)
    await this.transaction({ name: 'lockstep.revoke', user: 'system' }, async (tx) => {
      tx.emit(revocations({}), 'revoked', { ...revocation, node: this.#lease.node })
    })
  }

  #nodeHealth(): NodeHealth {
    const { state } = this.#lease
    const stopping = this.#closed !== undefined || state === 'released'
    return {
      status: stopping ? 'stopping' : state === 'held' ? 'ok' : 'degraded',
      node: this.#lease.node,
      lease: state,
      database: this.#database.kind,
      openOperations: this.#coordinator.openCount,
      channels: this.#hub.channelCount,
      connections: this.#gateway.connections(),
      bus: this.#bus.health,
    }
  }

  /**
   * Ends cleanly: takes no more work, finishes or rolls back what runs and tells its users, closes connections
   * with a code that makes clients reconnect, gives the lease back. The pool stays open.
   */
  close(options: { readonly drainMs?: number } = {}): Promise<void> {
    this.#closed ??= this.#close(options.drainMs ?? 5_000)
    return this.#closed
  }

  async #start(): Promise<void> {
    if (this.#closed !== undefined) throw new LockstepError('LS_NODE_STOPPING')
    await this.#database.migrate()
    await this.#lease.start()
    await this.rollout.start()
    this.#hub.start()
    await this.#bus.start(this.#lease.epoch)
    await this.#revocations.start()
    this.#orphans.start()
    this.#retention.start()
    this.health.monitor.start()
  }

  async #close(drainMs: number): Promise<void> {
    this.#gateway.stopAccepting()
    await this.#started?.catch(() => {})
    await this.#coordinator.close(drainMs)
    // Spread a little: clients that all come back at once are the next node's storm.
    await this.#gateway.close({ drainMs: drainMs / 5 })
    this.#revocations.close()
    this.#hub.close()
    await Promise.all([
      this.#bus.close(),
      this.#orphans.close(),
      this.#retention.close(),
      this.rollout.close(),
    ])
    await this.health.close()
    if (this.#started !== undefined) {
      await this.#lease.release().catch((error: unknown) => {
        this.#logger.warn({ error }, 'the lease was not given back; it runs out by itself')
      })
    }
    await this.#database.close()
  }

  #declare(part: CallablePart): void {
    if (!/^[a-z][a-zA-Z0-9_]{0,62}$/.test(part.name) || this.#parts.has(part.name)) {
      throw new LockstepError('LS_CONFIG_INVALID', {
        message: `"${part.name}" cannot be declared: the name is taken, or is not like "send_message".`,
      })
    }
    this.#parts.set(part.name, part)
  }

  #rollbackOf(name: string): RollbackOptions {
    const part = this.#parts.get(name)
    return part?.kind === 'operation' ? part.rollback : {}
  }
}

function toAuthenticator(auth: LockstepOptions<never>['auth']): (token: string) => Promise<Identity> {
  if (typeof auth === 'function') return auth
  if (auth !== undefined) return createTokenAuthenticator(auth)
  return () =>
    Promise.reject(
      new LockstepError('LS_UNAUTHENTICATED', {
        message: 'No connection is accepted: give createLockstep the option auth.',
      }),
    )
}

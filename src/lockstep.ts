import type { Server } from 'node:http'
import {
  assertChannel,
  assertOperationId,
  assertOperationName,
  assertUserId,
  assertWork,
  defineChannel,
  serverUser,
  validateEvent,
  type Channel,
  type ChannelFamily,
  type ChannelOptions,
  type EventDataOf,
  type EventSchemas,
  type InternalChannelOptions,
  type Jsonify,
  toJson,
  type NoEvents,
  type NoRefusals,
  type RefusalSchemas,
  type Schema,
  type UserContext,
} from './core/index.ts'
import { revocations, type Revocation } from './auth/index.ts'
import type { CreateLog } from './log/index.ts'
import { toNodeHandler, type NodeHandler } from './gateway/index.ts'
import {
  type Health,
  LockstepNode,
  operationHostOf,
  type Rooms,
  assertCloseOptions,
  assertLockstepOptions,
  assertRevocation,
  assertTransactionOptions,
  type LockstepOptions,
  type TransactionOptions,
  assertCallableName,
  Callables,
  UndeclaredOperations,
} from './node/index.ts'
import {
  Operation,
  Query,
  type OperationHost,
  type OperationOptions,
  type QueryOptions,
} from './operations/index.ts'
import { toEventJson, type Part, type Transaction } from './transaction/index.ts'
import type { Rollout } from './rollout/index.ts'
import { Task, type TaskOptions } from './runs/index.ts'

export type Lockstep<Db, User extends UserContext = UserContext> = LockstepInstance<Db, User>

/**
 * Wires the rooms together around one database.
 * @throws LS_CONFIG_INVALID
 */
export function createLockstep<Db, User extends UserContext = UserContext>(
  options: LockstepOptions<Db, User>,
): Lockstep<Db, User> {
  return createLockstepWith(options, [])
}

/**
 * Does the same as `createLockstep`, with parts.
 * @param parts the parts of each operation beside its events
 * @param createLog makes the log. Default: the one whose offsets are counted inside each transaction
 */
export function createLockstepWith<Db, User extends UserContext = UserContext>(
  options: LockstepOptions<Db, User>,
  parts: readonly Part<unknown>[],
  createLog?: CreateLog,
): Lockstep<Db, User> {
  assertLockstepOptions(options)
  return new LockstepInstance(options, parts, createLog)
}

class LockstepInstance<Db, User extends UserContext> {
  /** Mode of each operation: `enforce`, `observe` or `off`. */
  readonly rollout: Rollout
  /** How this node is, and how far the layers drift from the commit. */
  readonly health: Health
  readonly #callables = new Callables()
  readonly #node: LockstepNode<Db>
  readonly #rooms: Rooms<Db>
  readonly #undeclared: UndeclaredOperations<Db>
  readonly #operationHost: OperationHost<Db>

  constructor(options: LockstepOptions<Db, User>, parts: readonly Part<unknown>[], createLog?: CreateLog) {
    const ofAnyUser = options as unknown as LockstepOptions<Db>
    this.#node = new LockstepNode(ofAnyUser, this.#callables, parts, createLog)
    this.#rooms = this.#node.rooms
    this.#undeclared = new UndeclaredOperations(this.#rooms)
    this.#operationHost = operationHostOf(this.#rooms, () => this.start())
    this.rollout = this.#rooms.rollout
    this.health = this.#rooms.health
  }

  /** Operations that wait for a connection of the pool, and the number refused since the start. */
  get admission(): Pick<Rooms<Db>['admission'], 'waiting' | 'refused'> {
    return this.#rooms.admission
  }

  /**
   * Migrates, takes the node's lease and begins to serve. The first use calls it; call it to hear of a database that is away.
   * @throws LS_DATABASE_UNREACHABLE, LS_SCHEMA_NEWER
   */
  start(): Promise<void> {
    return this.#node.start()
  }

  /**
   * Declares a family of channels: which events it carries, and who may listen. Clients hear nothing of an `internal` one.
   * @throws LS_CONFIG_INVALID for a pattern that is malformed or shares a name with another one, and once the node has
   * begun to start: whoever asked for the channel before would have been refused for good
   */
  channel<const Pattern extends string, const Events extends EventSchemas = NoEvents>(
    pattern: Pattern,
    options: InternalChannelOptions<Events>,
  ): ChannelFamily<Pattern, Events, true, NoEvents>
  channel<
    const Pattern extends string,
    const Events extends EventSchemas = NoEvents,
    const Drafts extends EventSchemas = NoEvents,
  >(
    pattern: Pattern,
    options: ChannelOptions<Pattern, Events, Db, User, Drafts>,
  ): ChannelFamily<Pattern, Events, false, Drafts>
  channel(
    pattern: string,
    options: InternalChannelOptions<EventSchemas> | ChannelOptions<string, EventSchemas, Db, User>,
  ): ChannelFamily<string, EventSchemas, boolean> {
    const family = defineChannel<string, EventSchemas, boolean>(pattern, options)
    this.#rooms.life.assertNotBegun(pattern)
    this.#rooms.channels.declare(family)
    return family
  }

  /**
   * Declares a named operation, callable by clients unless it is `internal`.
   * @throws LS_CONFIG_INVALID for a name that is taken or malformed
   */
  operation<
    const Name extends string,
    InputSchema extends Schema,
    Result,
    const Refusals extends RefusalSchemas = NoRefusals,
    const Internal extends boolean = false,
  >(
    name: Name,
    options: OperationOptions<Db, User, InputSchema, Result, Refusals> & { readonly internal?: Internal },
  ): Operation<Name, Db, User, InputSchema, Result, Refusals, Internal> {
    assertCallableName(name, 'operation')
    const operation = new Operation<Name, Db, User, InputSchema, Result, Refusals, Internal>(name, options, {
      ...this.#operationHost,
      guard: this.#rooms.guard,
    })
    this.#callables.declare(operation)
    return operation
  }

  /**
   * Declares a named read, callable by clients unless it is `internal`.
   * @throws LS_CONFIG_INVALID for a name that is taken or malformed
   */
  query<
    const Name extends string,
    InputSchema extends Schema,
    Result,
    const Internal extends boolean = false,
  >(
    name: Name,
    options: QueryOptions<Db, User, InputSchema, Result> & { readonly internal?: Internal },
  ): Query<Name, Db, User, InputSchema, Result, Internal> {
    assertCallableName(name, 'query')
    const query = new Query<Name, Db, User, InputSchema, Result, Internal>(name, options, {
      scope: this.#rooms.scope,
      start: () => this.start(),
    })
    this.#callables.declare(query)
    return query
  }

  /**
   * Declares a kind of long work. Each node that declares it may have its runs.
   * @throws LS_CONFIG_INVALID for a name that is taken or malformed
   */
  task<
    const Name extends string,
    In extends Schema,
    Result,
    const Refusals extends RefusalSchemas = NoRefusals,
    P extends Schema = Schema,
    Ch extends Channel | undefined = undefined,
  >(
    name: Name,
    options: TaskOptions<Db, User, In, Result, Refusals, P, Ch>,
  ): Task<Name, Db, User, In, Result, Refusals, P, Ch> {
    assertCallableName(name, 'task')
    const { runs } = this.#rooms
    const operations = this.#operationHost
    const task = new Task(name, options, { runs, operations, ready: () => this.start() })
    this.#callables.declare(task)
    runs.declare(task)
    return task
  }

  /**
   * An operation without a declaration. Returns what `work` returns, after the COMMIT; with an `id`, which may be that of an
   * earlier call, what JSON makes of it.
   * @throws LS_OPERATION_ID_INVALID, LS_CONFIG_INVALID for a name that cannot be stored, and what else means "not
   * accepted"; what made it roll back, once its outcome and its user's notice stand; LS_OUTCOME_PENDING
   */
  transaction<Result>(
    options: TransactionOptions<User> & { readonly id?: undefined },
    work: (tx: Transaction<Db, User>) => Promise<Result>,
  ): Promise<Result>
  transaction<Result>(
    options: TransactionOptions<User>,
    work: (tx: Transaction<Db, User>) => Promise<Result>,
  ): Promise<Jsonify<Result>>
  async transaction<Result>(
    options: TransactionOptions<User>,
    work: (tx: Transaction<Db, User>) => Promise<Result>,
  ): Promise<Result | Jsonify<Result>> {
    assertTransactionOptions(options)
    // Intents travel together, so a name that Postgres refuses would take along those of others.
    assertOperationName(options.name)
    assertWork(work, `transaction "${options.name}"`)
    const untyped = work as (tx: Transaction<Db>) => Promise<Result>
    const ofAnyUser = options as unknown as TransactionOptions
    const result = await this.#undeclared.run(ofAnyUser, this.#rooms.scope.begin(untyped))
    return options.id === undefined ? result : (toJson(result) as Jsonify<Result>)
  }

  /**
   * Shows an event at once to those who listen now: outside of any transaction, with `committed: false`, without an offset,
   * kept nowhere. For code that is not to be coordinated yet; it counts as what the operation named has done.
   * @throws LS_CHANNEL_INVALID, LS_EVENT_UNKNOWN, LS_EVENT_INVALID, LS_EVENT_TOO_LARGE, LS_OPERATION_ID_INVALID
   */
  emitUncommitted<Events extends EventSchemas, Type extends keyof Events & string>(
    channel: Channel<Events>,
    type: Type,
    data: EventDataOf<Events, Type>,
    { operationId }: { readonly operationId: string },
  ): void {
    assertOperationId(operationId)
    assertChannel(channel, 'emitUncommitted')
    const json = toEventJson(validateEvent(channel, type, data), type)
    const at = new Date(this.#rooms.clock.now())
    this.#rooms.deliveries.deliverTransient({ channel: channel.name, type, operationId, data: json, at })
  }

  /** Serves the WebSocket on a Node HTTP server, beside whatever else it does. @throws LS_CONFIG_INVALID */
  attach(server: Server): void {
    this.#rooms.gateway.attach(server)
  }

  /** The HTTP routes, for any server that speaks fetch: `GET /lockstep/health`. */
  readonly fetch = (request: Request): Promise<Response> => this.#rooms.gateway.fetch(request)

  /**
   * The same routes for a Node HTTP server, `createServer(lockstep.handler())`, and as middleware,
   * `app.use(lockstep.handler())` in Express. What is not under `/lockstep/` goes to `next`, where there is one, else it is
   * answered with 404.
   */
  handler(): NodeHandler {
    return toNodeHandler(this.#rooms.gateway)
  }

  /**
   * Takes a channel, a session or everything from a user: first change what `auth` and `canSubscribe` answer, then
   * call this. It has acted on this node's connections when it returns its promise; other nodes hear of it through
   * the log, as they hear of any event.
   * @throws LS_USER_ID_INVALID, LS_CONFIG_INVALID, LS_CHANNEL_NAME_INVALID, LS_CHANNEL_UNKNOWN for what takes nothing; as `transaction`, when the other nodes could not be told: call it again
   */
  async revoke(revocation: Revocation): Promise<void> {
    assertRevocation(revocation)
    assertUserId(revocation.user)
    if (revocation.channel !== undefined) this.#rooms.channels.assertRevocable(revocation.channel)
    this.#rooms.gateway.revoke(revocation)
    // Skip `onBegin`: this transaction is no work of the application.
    await this.#undeclared.run({ name: 'lockstep.revoke', user: serverUser }, async (tx) => {
      tx.emit(revocations(), 'revoked', this.#rooms.revocations.publicationOf(revocation))
    })
  }

  /**
   * Ends cleanly: takes no more work, finishes or rolls back what runs and tells its users, closes connections
   * with a code that makes clients reconnect, gives the lease back. The pool stays open.
   */
  async close(options: { readonly drainMs?: number } = {}): Promise<void> {
    assertCloseOptions(options)
    return this.#node.close(options.drainMs ?? 5_000)
  }
}

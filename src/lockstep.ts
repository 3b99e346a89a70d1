import type { Server } from 'node:http'
import {
  assertOperationId,
  assertOperationName,
  assertUserId,
  assertWholeNumbers,
  LockstepError,
  newOperationId,
  serverUser,
  validateEvent,
  type Channel,
  type EventDataOf,
  type EventSchemas,
  type Schema,
} from './core/index.ts'
import { revocations, toNodeHandler, type NodeHandler, type Revocation } from './gateway/index.ts'
import type { Health } from './monitoring.ts'
import { LockstepNode } from './node.ts'
import type { CoordinatedOperation, LockstepOptions, TransactionOptions } from './options.ts'
import { toAscii } from './postgres/index.ts'
import { Callables } from './rpc.ts'
import {
  Operation,
  Query,
  toEventJson,
  toUser,
  type OperationOptions,
  type QueryOptions,
  type Rollout,
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

class LockstepInstance<Db> {
  /** In which mode each operation runs: `enforce`, `observe` or `off`. */
  readonly rollout: Rollout
  /** How this node is, and how far the layers drift from the commit. */
  readonly health: Health
  readonly #callables = new Callables()
  readonly #node: LockstepNode<Db>

  constructor(options: LockstepOptions<Db>) {
    this.#node = new LockstepNode(options, this.#callables)
    this.rollout = this.#node.rollout
    this.health = this.#node.health
  }

  /** What waits for a connection of the pool at this moment, and what was refused since the start. */
  get admission(): { readonly waiting: number; readonly refused: number } {
    return this.#node.admission
  }

  /**
   * Migrates, takes the node's lease and begins to serve. Called by the first use if not before; call it yourself
   * to hear of a database that cannot be reached.
   * @throws LS_DATABASE_UNREACHABLE, LS_SCHEMA_NEWER
   */
  start(): Promise<void> {
    return this.#node.start()
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
      scope: this.#node.scope,
      guard: this.#node.guard,
      run: async (request) => {
        await this.start()
        return this.#node.coordinator.run(request)
      },
      earliestArrival: () => this.#node.coordinator.earliestArrival,
      recall: async (id, claim) => {
        await this.start()
        return this.#node.coordinator.recall(id, claim)
      },
    })
    this.#callables.declare(operation)
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
    const query = new Query(name, options, this.#node.scope)
    this.#callables.declare(query)
    return query
  }

  /**
   * An operation without a declaration. Returns what `work` returns, after the COMMIT.
   * @throws LS_OPERATION_ID_INVALID, LS_CONFIG_INVALID for a name that cannot be stored, and what else means "not
   * accepted"; what made it roll back, once its outcome and its user's notice stand; LS_OUTCOME_PENDING
   */
  async transaction<Result>(
    options: TransactionOptions,
    work: (tx: Transaction<Db>) => Promise<Result>,
  ): Promise<Result> {
    // Intents travel together, so a name that Postgres refuses would take along those of others.
    assertOperationName(options.name)
    return this.#run(options, this.#node.scope.begin(work))
  }

  async #run<Result>(
    options: TransactionOptions,
    work: (tx: Transaction<Db>) => Promise<Result>,
  ): Promise<Result> {
    const { name, timeoutMs } = options
    // Before anything is awaited: the stack still tells who calls.
    const origin = name.startsWith('lockstep.') ? undefined : this.#node.guard?.called(name)
    const since = this.#node.coordinator.earliestArrival
    const id = options.id ?? newOperationId()
    // The id becomes part of a statement's text.
    assertOperationId(id)
    assertWholeNumbers({ timeoutMs })
    await this.start()
    const { outcome, error } = await this.#node.coordinator.run({
      id,
      name,
      since,
      user: toUser(options.user),
      // Without a declared input, the name is all that tells one operation from another.
      // In ASCII, as each database can give it back.
      inputHash: toAscii(name),
      rollback: options.rollback ?? {},
      intent: options.intent ?? true,
      repeat: options.repeat,
      signal: options.signal,
      timeoutMs,
      origin,
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
      user: operation.user ?? serverUser,
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
    this.#node.bus.announceTransient({
      channel: channel.name,
      type,
      operationId,
      data: text,
      at: new Date(this.#node.clock.now()),
    })
  }

  /** Serves the WebSocket on an existing Node HTTP server, next to whatever else it does. */
  attach(server: Server): void {
    this.#node.gateway.attach(server)
  }

  /** The HTTP routes, for any server that speaks fetch: `GET /lockstep/health`. */
  readonly fetch = (request: Request): Promise<Response> => this.#node.gateway.fetch(request)

  /**
   * The same routes for a Node HTTP server, and as middleware: `app.use(lockstep.nodeHandler())` in Express. What is not
   * under `/lockstep/` goes to `otherwise`, else to the framework's `next`, else it is answered with 404.
   */
  nodeHandler(otherwise?: NodeHandler): NodeHandler {
    return toNodeHandler(this.#node.gateway, otherwise)
  }

  /**
   * Takes a channel, a session or everything from a user: first change what `auth` and `canSubscribe` answer, then
   * call this. It has acted on this node's connections when it returns its promise; other nodes hear of it through
   * the log, as they hear of any event.
   * @throws LS_USER_ID_INVALID; as `transaction`, when the other nodes could not be told: call it again
   */
  async revoke(revocation: Revocation): Promise<void> {
    assertUserId(revocation.user)
    this.#node.gateway.revoke(revocation)
    // Without `onBegin`: this is no work of the application's.
    await this.#run({ name: 'lockstep.revoke', user: serverUser }, async (tx) => {
      tx.emit(revocations({}), 'revoked', this.#node.revocations.announcementOf(revocation))
    })
  }

  /**
   * Ends cleanly: takes no more work, finishes or rolls back what runs and tells its users, closes connections
   * with a code that makes clients reconnect, gives the lease back. The pool stays open.
   */
  close(options: { readonly drainMs?: number } = {}): Promise<void> {
    return this.#node.close(options.drainMs ?? 5_000)
  }
}

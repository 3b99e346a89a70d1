import { limits } from '../protocol/index.ts'
import {
  LockstepError,
  messageOf,
  validateEvent,
  type Channel,
  type EventDataOf,
  type EventSchemas,
  type Logger,
  type Mode,
  type OpenTransaction,
  type SavepointScope,
  type UserContext,
} from '../core/index.ts'
import type { PendingEvent } from '../postgres/index.ts'

/** What an operation's code works with. Ends with the operation: afterwards every call throws. */
export interface Transaction<Db> {
  /** The user's SQL, inside the operation's transaction. */
  readonly db: Db
  readonly operationId: string
  readonly user: UserContext
  /** Aborts when the operation is cancelled. */
  readonly signal: AbortSignal
  /** How the operation is rolled out for this user. */
  readonly mode: Mode
  /**
   * Buffers an event; it leaves after the COMMIT, or never. In the modes `off` and `observe` it leaves at once, has no
   * place in the log, and is not taken back.
   * @throws LS_EVENT_UNKNOWN, LS_EVENT_INVALID, LS_EVENT_TOO_LARGE, LS_TRANSACTION_CLOSED
   */
  emit<Events extends EventSchemas, Type extends keyof Events & string>(
    channel: Channel<Events>,
    type: Type,
    data: EventDataOf<Events, Type>,
  ): void
  /**
   * A nested transaction: joins this one by a savepoint. When `work` throws, or has swallowed the error of a
   * statement, its statements, events and hooks are undone, and the error is thrown on. One at a time.
   * @throws LS_SAVEPOINT_OPEN, LS_TRANSACTION_CLOSED
   */
  transaction<T>(work: (tx: Transaction<Db>) => Promise<T>): Promise<T>
  /** Runs after the COMMIT, on this node, at most once: it is lost when the process dies first. */
  afterCommit(work: () => void | Promise<void>): void
  /** Runs after a rollback, on this node, at most once: it is lost when the process dies first. */
  afterRollback(work: () => void | Promise<void>): void
}

type Hook = () => void | Promise<void>

/** What a scope is told of its operation. */
export interface ScopeIdentity {
  readonly operationId: string
  readonly user: UserContext
  readonly signal: AbortSignal
  readonly mode: Mode
  /** Where the mode lets events leave at once. */
  readonly emitNow?: ((event: PendingEvent) => void) | undefined
}

/** The buffer behind a `Transaction`: what goes out, and what runs, depends on how it ends. */
export class TransactionScope<Db> implements Transaction<Db> {
  readonly db: Db
  readonly operationId: string
  readonly user: UserContext
  readonly signal: AbortSignal
  readonly mode: Mode
  readonly emitNow: ((event: PendingEvent) => void) | undefined
  readonly #savepoint: () => Promise<SavepointScope<Db>>
  readonly #events: PendingEvent[] = []
  readonly #afterCommit: Hook[] = []
  readonly #afterRollback: Hook[] = []
  #hasEmitted = false
  #closed = false

  constructor(
    identity: ScopeIdentity,
    open: { readonly db: Db; readonly savepoint: () => Promise<SavepointScope<Db>> },
  ) {
    this.operationId = identity.operationId
    this.user = identity.user
    this.signal = identity.signal
    this.mode = identity.mode
    this.emitNow = identity.emitNow
    this.db = open.db
    this.#savepoint = open.savepoint
  }

  static of<Db>(identity: ScopeIdentity, open: OpenTransaction<Db>): TransactionScope<Db> {
    return new TransactionScope(identity, { db: open.db, savepoint: () => open.savepoint() })
  }

  get hasEmitted(): boolean {
    return this.#hasEmitted
  }

  /** Those that wait for the COMMIT, in the order they were emitted. */
  get events(): readonly PendingEvent[] {
    return this.#events
  }

  close(): void {
    this.#closed = true
  }

  emit<Events extends EventSchemas, Type extends keyof Events & string>(
    channel: Channel<Events>,
    type: Type,
    data: EventDataOf<Events, Type>,
  ): void {
    this.#assertOpen()
    const value = validateEvent(channel, type, data)
    const event: PendingEvent = {
      channel: channel.name,
      template: channel.definition.pattern,
      type,
      data: toEventJson(value, type),
    }
    this.#hasEmitted = true
    if (this.emitNow === undefined) this.#events.push(event)
    else this.emitNow(event)
  }

  async transaction<T>(work: (tx: Transaction<Db>) => Promise<T>): Promise<T> {
    this.#assertOpen()
    const savepoint = await this.#savepoint()
    const inner = new TransactionScope<Db>(this, {
      db: savepoint.db,
      savepoint: () => savepoint.savepoint(),
    })
    let result: T
    try {
      result = await work(inner)
      inner.close()
    } catch (error) {
      inner.close()
      await savepoint.rollback()
      throw error
    }
    await savepoint.release()
    this.#hasEmitted ||= inner.hasEmitted
    this.#events.push(...inner.#events)
    this.#afterCommit.push(...inner.#afterCommit)
    this.#afterRollback.push(...inner.#afterRollback)
    return result
  }

  afterCommit(work: Hook): void {
    this.#assertOpen()
    this.#afterCommit.push(work)
  }

  afterRollback(work: Hook): void {
    this.#assertOpen()
    this.#afterRollback.push(work)
  }

  /** Runs the hooks of one ending, if there are any. Their errors are logged: the outcome stands already. */
  runHooks(ending: 'committed' | 'rolled_back', logger: Logger): Promise<void> | undefined {
    const hooks = ending === 'committed' ? this.#afterCommit : this.#afterRollback
    return hooks.length === 0 ? undefined : this.#runAll(hooks, ending, logger)
  }

  async #runAll(hooks: readonly Hook[], ending: 'committed' | 'rolled_back', logger: Logger): Promise<void> {
    for (const hook of hooks) {
      try {
        await hook()
      } catch (error) {
        logger.error(
          { operationId: this.operationId, error: messageOf(error), ending },
          'a hook after the end of an operation failed',
        )
      }
    }
  }

  #assertOpen(): void {
    if (!this.#closed) return
    throw new LockstepError('LS_TRANSACTION_CLOSED', {
      message: 'The transaction has ended. Await all work before the operation returns.',
    })
  }
}

/** JSON text of an event's data. @throws LS_EVENT_TOO_LARGE */
export function toEventJson(value: unknown, type: string): string {
  // Without a value at all, JSON has no text either.
  const data = JSON.stringify(value) ?? 'null'
  if (Buffer.byteLength(data) > limits.maxEventBytes) {
    throw new LockstepError('LS_EVENT_TOO_LARGE', {
      message: `Event "${type}" has ${Buffer.byteLength(data)} bytes, at most ${limits.maxEventBytes} are allowed.`,
    })
  }
  return data
}

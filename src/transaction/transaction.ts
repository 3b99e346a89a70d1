import { limits } from '../protocol/index.ts'
import {
  LockstepError,
  validateEvent,
  type Channel,
  type EventDataOf,
  type EventSchemas,
  type Mode,
  type OpenTransaction,
  type SavepointScope,
  type UserContext,
} from '../core/index.ts'
import type { PendingEvent } from '../postgres/index.ts'
import { Contributions } from './contributions.ts'
import type { Hook } from './hook-runner.ts'
import type { Interruption } from './interruption.ts'
import { SavepointMarks } from './savepoint-marks.ts'

/** What an operation's code works with. Ends with the operation: afterwards every call throws. */
export interface Transaction<Db> {
  /** The user's SQL, inside the operation's transaction. */
  readonly db: Db
  readonly operationId: string
  readonly user: UserContext
  /** Aborts when the operation is cancelled, has reached its time limit, or the node ends. */
  readonly signal: AbortSignal
  /** How the operation is rolled out for this user. */
  readonly mode: Mode
  /**
   * Buffers an event; it leaves after the COMMIT, or never: also when it was emitted after a savepoint, of yours or of an
   * ORM, that is rolled back. In the modes `off` and `observe` it leaves at once, has no place in the log, and is not
   * taken back.
   * @throws LS_EVENT_UNKNOWN, LS_EVENT_INVALID, LS_EVENT_TOO_LARGE, LS_TRANSACTION_CLOSED
   */
  emit<Events extends EventSchemas, Type extends keyof Events & string>(
    channel: Channel<Events>,
    type: Type,
    data: EventDataOf<Events, Type>,
  ): void
  /**
   * A nested transaction: joins this one by a savepoint. When `work` throws, or has swallowed the error of a
   * statement, what was done since it began is undone, statements, events and hooks alike, through whichever handle, and
   * the error is thrown on. One at a time.
   * @throws LS_SAVEPOINT_OPEN, LS_TRANSACTION_CLOSED
   */
  transaction<T>(work: (tx: Transaction<Db>) => Promise<T>): Promise<T>
  /**
   * Runs after the COMMIT, on this node, at most once: it is lost when the process dies first. The reply does not wait for
   * it. After 10 s the next hook begins beside it; what fails or takes longer is logged.
   */
  afterCommit(work: () => void | Promise<void>): void
  /** Runs after a rollback, otherwise as `afterCommit`. */
  afterRollback(work: () => void | Promise<void>): void
}

/** What a scope is told of its operation. */
export interface ScopeIdentity {
  readonly operationId: string
  readonly user: UserContext
  readonly interruption: Interruption
  readonly mode: Mode
  /** Where the mode lets events leave at once. */
  readonly emitNow?: ((event: PendingEvent) => void) | undefined
}

/** The contributions of an operation to its ending. Nested scopes share them, and savepoints cut them back. */
class OperationParts {
  readonly events = new Contributions<PendingEvent>()
  readonly afterCommit = new Contributions<Hook>()
  readonly afterRollback = new Contributions<Hook>()
  readonly savepoints = new SavepointMarks([this.events, this.afterCommit, this.afterRollback])
  hasEmittedNow = false
  /** What stands is settled: no scope takes anything more, nor one whose own end was not awaited. */
  isClosed = false
}

/** The buffer behind a `Transaction`: what goes out, and what runs, depends on how it ends. */
export class TransactionScope<Db> implements Transaction<Db> {
  readonly db: Db
  readonly operationId: string
  readonly user: UserContext
  readonly interruption: Interruption
  readonly mode: Mode
  readonly emitNow: ((event: PendingEvent) => void) | undefined
  readonly #savepoint: () => Promise<SavepointScope<Db>>
  readonly #parts: OperationParts
  #closed = false

  private constructor(
    identity: ScopeIdentity,
    open: { readonly db: Db; readonly savepoint: () => Promise<SavepointScope<Db>> },
    parts: OperationParts,
  ) {
    this.operationId = identity.operationId
    this.user = identity.user
    this.interruption = identity.interruption
    this.mode = identity.mode
    this.emitNow = identity.emitNow
    this.db = open.db
    this.#savepoint = open.savepoint
    this.#parts = parts
  }

  static of<Db>(identity: ScopeIdentity, open: OpenTransaction<Db>): TransactionScope<Db> {
    const parts = new OperationParts()
    open.watchSavepoints(parts.savepoints.watch)
    return new TransactionScope(identity, { db: open.db, savepoint: () => open.savepoint() }, parts)
  }

  /** Whether anything that it shows outside the database depends on how it ends. */
  get hasEmitted(): boolean {
    return this.#parts.hasEmittedNow || this.events.length > 0
  }

  /** Events that wait for the COMMIT, in the order they were emitted. */
  get events(): readonly PendingEvent[] {
    return this.#parts.events.items
  }

  get signal(): AbortSignal {
    return this.interruption.signal
  }

  get isOpen(): boolean {
    return !this.#closed && !this.#parts.isClosed
  }

  /** Ends the operation's code: this scope, and every nested one. What `events` answers stays as it is from here on. */
  closeAll(): void {
    this.#parts.isClosed = true
  }

  /** @throws LS_STATEMENT_UNSUPPORTED when it is not known which events stand */
  assertSettled(): void {
    this.#parts.savepoints.assertSettled()
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
    if (this.emitNow === undefined) return this.#parts.events.add(event)
    this.#parts.hasEmittedNow = true
    this.emitNow(event)
  }

  async transaction<T>(work: (tx: Transaction<Db>) => Promise<T>): Promise<T> {
    this.#assertOpen()
    const savepoint = await this.#savepoint()
    const open = { db: savepoint.db, savepoint: () => savepoint.savepoint() }
    const inner = new TransactionScope<Db>(this, open, this.#parts)
    let result: T
    try {
      result = await work(inner)
      inner.#closed = true
    } catch (error) {
      inner.#closed = true
      await savepoint.rollback()
      throw error
    }
    await savepoint.release()
    return result
  }

  afterCommit(work: Hook): void {
    this.#assertOpen()
    this.#parts.afterCommit.add(work)
  }

  afterRollback(work: Hook): void {
    this.#assertOpen()
    this.#parts.afterRollback.add(work)
  }

  hooksOf(ending: 'committed' | 'rolled_back'): readonly Hook[] {
    return (ending === 'committed' ? this.#parts.afterCommit : this.#parts.afterRollback).items
  }

  #assertOpen(): void {
    if (this.isOpen) return
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

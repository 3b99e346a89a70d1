import {
  assertChannel,
  assertWork,
  describeGiven,
  hasMethods,
  LockstepError,
  type Channel,
  type DraftHandle,
  type EventDataOf,
  type EventSchemas,
  type Mode,
  type OpenTransaction,
  type SavepointScope,
  type UserContext,
} from '../../core/index.ts'
import type { PendingEvent } from '../../postgres/index.ts'
import type { Hook } from './hook-runner.ts'
import type { Interruption } from './interruption.ts'
import { OperationParts } from './operation-parts.ts'
import type { OperationRollbackEvents } from '../parts/operation-rollback-events.ts'
import type { Part } from '../parts/part.ts'
import type { RunStart, Startable, Transaction } from './transaction.ts'

/** Facts of its operation that a scope is given. */
export interface ScopeIdentity {
  readonly operationId: string
  readonly user: UserContext
  readonly interruption: Interruption
  readonly mode: Mode
  /** Lease under which the operation runs. */
  readonly node: string
  /** Settles to whether the id has no outcome yet. Absent when no intent is written. */
  readonly intent: Promise<boolean> | undefined
  /** Sends an event at once, where the mode lets events leave before the commit. */
  readonly emitNow?: ((event: PendingEvent) => void) | undefined
}

/** The buffer behind a `Transaction`: what goes out, and what runs, depends on how it ends. */
export class TransactionScope<Db> implements Transaction<Db> {
  readonly db: Db
  readonly operationId: string
  readonly user: UserContext
  readonly interruption: Interruption
  readonly mode: Mode
  readonly node: string
  readonly intent: Promise<boolean> | undefined
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
    this.node = identity.node
    this.intent = identity.intent
    this.emitNow = identity.emitNow
    this.db = open.db
    this.#savepoint = open.savepoint
    this.#parts = parts
  }

  /** @param parts the parts beside the events */
  static of<Db>(
    identity: ScopeIdentity,
    open: OpenTransaction<Db>,
    parts: readonly Part<unknown>[],
    rollbackEvents: OperationRollbackEvents,
  ): TransactionScope<Db> {
    const { operationId, user, mode, node, intent } = identity
    const opened = new OperationParts({ operationId, user, mode, node, intent }, parts, rollbackEvents)
    open.watchSavepoints(opened.savepoints.watch)
    return new TransactionScope(identity, { db: open.db, savepoint: () => open.savepoint() }, opened)
  }

  /** Contributions so far, of this scope and all others of the attempt. */
  get parts(): OperationParts {
    return this.#parts
  }

  /** @throws LS_TRANSACTION_CLOSED */
  handleOf<Handle>(part: Part<Handle>): Handle {
    this.#assertOpen()
    return this.#parts.handleOf(part)
  }

  get signal(): AbortSignal {
    return this.interruption.signal
  }

  get isOpen(): boolean {
    return !this.#closed && !this.#parts.isClosed
  }

  /** Ends the operation's code: this scope, and every nested one. What it has contributed stays as it is from here on. */
  closeAll(): void {
    this.#parts.close()
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
    this.#parts.events.emit(channel, type, data, this.emitNow)
  }

  async transaction<T>(work: (tx: Transaction<Db>) => Promise<T>): Promise<T> {
    this.#assertOpen()
    assertWork(work, 'tx.transaction')
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
    assertWork(work, 'tx.afterCommit')
    this.#parts.afterCommit.add(work)
  }

  afterRollback(work: Hook): void {
    this.#assertOpen()
    assertWork(work, 'tx.afterRollback')
    this.#parts.afterRollback.add(work)
  }

  start<Input, Ref>(task: Startable<Db, Input, Ref>, input: Input, options?: RunStart): Ref {
    this.#assertOpen()
    if (!hasMethods(task, ['startIn'])) {
      throw new LockstepError('LS_CONFIG_INVALID', {
        message: `tx.start takes a task and its input, and got ${describeGiven(task)}. Write tx.start(task, input) with what lockstep.task returned.`,
      })
    }
    return task.startIn(this, input, options)
  }

  draft<Drafts extends EventSchemas, Name extends keyof Drafts & string>(
    channel: Channel<EventSchemas, Drafts>,
    name: Name,
  ): DraftHandle<EventDataOf<Drafts, Name>> {
    this.#assertOpen()
    assertChannel(channel, 'tx.draft')
    return this.#parts.draft(channel, name)
  }

  /** A step of a run is no part of an operation. @throws LS_STEP_OUTSIDE_RUN always: for code without types */
  get step(): never {
    throw new LockstepError('LS_STEP_OUTSIDE_RUN', {
      message: 'tx has no steps. Start a task instead: tx.start(task, input).',
    })
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

/**
 * The handle of a part in the operation that a transaction belongs to, for the functions by which applications use it.
 * @throws LS_TRANSACTION_CLOSED
 */
export function handleIn<Handle>(tx: Transaction<unknown>, part: Part<Handle>): Handle {
  if (!(tx instanceof TransactionScope)) {
    throw new LockstepError('LS_TRANSACTION_CLOSED', {
      message: 'This is no transaction of an operation. Pass on the `tx` that `run` was given.',
    })
  }
  return tx.handleOf(part)
}

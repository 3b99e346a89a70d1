import type { Channel, DraftHandle, Mode, Rows, Statement, UserContext } from '../../core/index.ts'
import type { PendingEvent } from '../../postgres/index.ts'
import type { Contributions } from './contributions.ts'
import type { OnRollback } from './operation-rollback-events.ts'
import type { PartEvent } from './part-event.ts'

/** The operation that a part is opened in. */
export interface PartScope {
  readonly operationId: string
  readonly user: UserContext
  /** Lease under which the operation runs. */
  readonly node: string
  /** Settles to whether the id has no outcome yet, once the intent stands. Absent when no intent is written. */
  readonly intent: Promise<boolean> | undefined
  /** Events of parts are appended in each mode: only what the application emits leaves early in `off` and `observe`. */
  readonly mode: Mode
  /**
   * A list of contributions. Savepoints cut it back, it takes nothing more once the operation's code has ended, and it is
   * cleared when the operation does not commit at once. Whatever a part keeps belongs into one.
   * @param bytesOf size of one, where the list has to know it
   */
  contributions<T>(bytesOf?: (item: T) => number): Contributions<T>
  /**
   * Has an event appended if the operation is rolled back, by whichever node writes that outcome and in its transaction,
   * with or without a notice and in each mode. A part calls this before it shows anything outside of the transaction, and
   * shows it once the promise has resolved: the event then stands in the database, beside the intent. Events are written in
   * batches. No savepoint takes them back, and they stand for all attempts at the operation; a commit drops them.
   * @throws LS_TRANSACTION_CLOSED once the operation's code has ended, also where it ends meanwhile; LS_OPERATION_FENCED
   * when the operation has an outcome; LS_CONFIG_INVALID when it has no intent; as `toPendingEvent`; retryable database
   * errors, after which the same event may be asked for again
   */
  appendOnRollback(event: OnRollback): Promise<void>
}

/**
 * Locks of Lockstep's transactions (flushes, settlements, and the claims and stops of runs), in the order in which all
 * of them take them. Two transactions that keep to it cannot wait for each other in a circle. Heads are locked in the
 * byte order of their channels, ids in their own order, each once. Fences stand before the heads, those of one kind in the
 * byte order of their keys; rows that only one operation writes come behind its id. `operations` are the advisory locks of a
 * settlement and of whoever writes rollback events, who waits for none.
 */
export const lockOrder = ['concurrency', 'gate', 'run', 'operations', 'heads', 'ids', 'rows'] as const

/** A statement that comes before the heads are locked, and raises where the operation may not commit any more. */
export interface Fence {
  readonly locks: 'concurrency' | 'gate' | 'run'
  /** Names what is locked: fences of one kind come in the byte order of their keys, and one key comes once. */
  readonly key: string
  readonly statement: Statement
}

/** Events around those of all parts. */
export interface ClosingEvents {
  readonly first: readonly PartEvent[]
  readonly last: readonly PartEvent[]
}

/**
 * Contributor to an operation's ending, such as its events, the first part; it commits or rolls back with the
 * operation. A part appends no event by itself and locks no head of a channel: flush and settlement do so for all parts
 * at once.
 */
export interface Part<Handle> {
  readonly name: string
  /** Called for each attempt at an operation. */
  open(scope: PartScope): Handle
  /** Fences, sent before everything else of the flush. */
  fences?(handle: Handle): readonly Fence[]
  /**
   * Appended by the flush, together with those of the other parts. They count towards the events and bytes that one
   * operation may have.
   */
  events?(handle: Handle): readonly PartEvent[]
  /**
   * Events that depend on what all parts append, asked for once that is known: `first` stand in front of the others, `last`
   * behind them.
   */
  closingEvents?(handle: Handle, appended: readonly PendingEvent[]): ClosingEvents
  /** Opens a draft for `tx.draft`. One part at most has drafts. @throws LS_DRAFT_UNKNOWN, LS_CONFIG_INVALID */
  draft?(handle: Handle, channel: Channel, name: string): DraftHandle<unknown>
  /** Called when the code of the attempt has ended, however: nothing may be contributed or shown any more. */
  closed?(handle: Handle): void
  /**
   * Statements of its own tables, sent behind the outcome. They write what no other operation writes. Their texts go as the
   * application's own do, and are not prepared under a name.
   */
  rows?(handle: Handle): readonly Statement[]
  /**
   * Called when COMMIT was answered, with the answers to `rows`. Where that answer is lost, the part learns of the commit
   * by its events, as other nodes do. What it throws is logged.
   */
  committed?(handle: Handle, answers: readonly Rows<unknown>[]): void
  /**
   * Layers beside the database on which the operation would have been seen, such as `websocket`: the notice of a rollback
   * names them. Asked before contributions are cleared.
   */
  layers?(handle: Handle): readonly string[]
}

import type { Offsets, Statement } from '../core/index.ts'
import type {
  Heads,
  OperationKey,
  OperationRow,
  PendingEvent,
  SettlementRequest,
  SettlementWaits,
  SettleRow,
} from '../postgres/index.ts'
import type { EmittedCounts } from './committed-events.ts'
import type { LogHistory } from './log-history.ts'
import type { SweptTable } from './retention.ts'
import type { StoredEvent } from './stored-event.ts'

/** The durable log of a node. Who appends, reads or trims knows no statement, and not how offsets are given. */
export interface Log {
  readonly append: LogAppender
  readonly read: LogReader
  /** Events older than so many milliseconds, to be swept away. Heads of channels stay. */
  trim(retentionMs: number): SweptTable
}

/** Entries on their way into the log: the outcome of an operation, and its events. */
export interface LogAppender {
  /**
   * Appends the events of an operation and writes its outcome, in the operation's own transaction, right before COMMIT.
   * @param result JSON text; null where there is none
   */
  flush(key: OperationKey, result: string | null, events: readonly PendingEvent[]): Append
  /**
   * Rolls operations back that have no outcome, and appends their events, in one transaction. Answers in their order.
   * @throws LS_STATEMENT_TIMEOUT when one of its locks was held by others for longer than `waits`; then none is settled
   */
  settle(
    settlements: readonly SettlementRequest[],
    waits: SettlementWaits,
  ): Promise<readonly (Settled | undefined)[]>
  /** Outcomes of one user's operations that stand, with the places of their events. @throws database errors */
  outcomesOf(userId: string, ids: readonly string[]): Promise<readonly OperationRow[]>
  /** Events of an operation whose COMMIT was found out later; fewer where some are removed already. @throws database errors */
  eventsOf(found: FoundCommit): Promise<readonly StoredEvent[]>
}

/** An append that is sent in the flight of a COMMIT. */
export interface Append {
  readonly statement: Statement
  /** Facts by which the events are found again if the answer is lost. */
  readonly emitted: EmittedCounts
  /**
   * Says where the events stand, once the COMMIT was answered. A promise where they get their offsets after the commit;
   * where it rejects, the operation has committed all the same, and `settle` or `outcomesOf` says where.
   * @param row the row that the statement answered
   */
  landed(row: unknown): Landed | Promise<Landed>
}

/** Places of an operation's events. */
export interface Landed {
  /** Last offset in each channel. */
  readonly offsets: Offsets
  readonly events: readonly StoredEvent[]
}

/** The outcome that stands after a settlement. */
export interface Settled extends Omit<SettleRow, 'offsets' | 'withdrawn' | 'at_ms'> {
  /** Events that this settlement has appended. */
  readonly events: readonly StoredEvent[]
}

/** An operation that has committed, as was found out later. */
export interface FoundCommit {
  readonly operationId: string
  readonly emitted: EmittedCounts
  readonly offsets: Offsets
}

/** Reads the log, of one history at a time. */
export interface LogReader {
  /** Knows the epoch. */
  readonly history: LogHistory
  /**
   * A page: at most `limit` events, fewer where those reach a page's bytes, and none only where there is none.
   * @throws LS_CONNECTION_LOST when the history was replaced meanwhile; retryable database errors
   */
  readAfter(channel: string, offset: number, limit: number): Promise<readonly StoredEvent[]>
  /**
   * The events in (from, to]; fewer where the log does not have them all. Undefined where they are more than `maxBytes`.
   * @throws as `readAfter`
   */
  readBetween(
    channel: string,
    from: number,
    to: number,
    maxBytes: number,
  ): Promise<readonly StoredEvent[] | undefined>
  /** The channel's head as it is at some moment after this call. @throws as `readAfter` */
  headOf(channel: string): Promise<{ readonly head: number; readonly epoch: string }>
  /** @throws as `readAfter` */
  headsOf(channels: readonly string[]): Promise<Heads>
  /** How long something could not be read by now, in milliseconds; 0 while all can. */
  readonly unreadableMs: number
  /** Tries again what could not be read. @throws as `readAfter` */
  retryUnreadable(): Promise<void>
}

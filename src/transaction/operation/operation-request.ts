import type { Isolation, Moment, UserContext } from '../../core/index.ts'
import type { Outcome } from '../../protocol/index.ts'
import type { RollbackOptions } from '../settle/notice.ts'
import type { Transaction } from './transaction.ts'
import type { WorkLimit } from './work-limits.ts'

/** Facts about an operation that its settlement needs. */
export interface RequestFacts {
  readonly id: string
  readonly name: string
  readonly user: UserContext
  readonly rollback: RollbackOptions
  /** Tells the user nothing of a rollback: the run that it belongs to goes on, and tells of its own end. */
  readonly isQuiet?: boolean | undefined
  /** The id may have been sent before: while the database is away, no answer is then given from memory. */
  readonly repeat?: boolean | undefined
}

/** An operation that is ready to run: validated and authorized. */
export interface OperationRequest<Db, Result> extends RequestFacts, WorkLimit {
  /** Earliest time at which the call may have come; see `earliestArrival`. */
  readonly since: Moment
  /** Digest of name and input. */
  readonly inputHash: string
  /**
   * False: no durable note is written at the start. When the process dies before the end, the user has no notice, and
   * learns it only where the client asks.
   */
  readonly intent: boolean
  readonly isolation?: Isolation | undefined
  /** Error with the stack of the call, in development. */
  readonly origin?: Error | undefined
  readonly work: (tx: Transaction<Db>) => Promise<Result>
}

/** The outcome, and for the caller in this process what a user must not see. */
export interface EndedOperation<Result> {
  readonly outcome: Outcome<Result>
  /** Error that rolled it back; absent when committed, or when the outcome was replayed. */
  readonly error?: unknown
}

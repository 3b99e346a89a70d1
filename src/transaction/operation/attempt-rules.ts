import { LockstepError, type CommitResult, type ErrorCode } from '../../core/index.ts'
import { mutationPoint } from '../../protocol/mutation-point.ts'
import { toLockstepError } from '../../postgres/index.ts'
import { failureCode } from '../settle/notice.ts'

/** Facts of an operation whose work has returned. */
export interface WorkedFacts {
  /** Whether the id has no outcome yet, as the intent has answered; undefined where none is written. */
  readonly isNew: boolean | undefined
  /** The history in which the intent was asked for, and that of the transaction; undefined where only one is known. */
  readonly notedIn: string
  readonly epoch: string | undefined
}

/** Next step of an operation whose work has returned and whose intent is known. */
export type WorkedStep =
  | { readonly step: 'flush' }
  /** The id has an outcome already: this copy of the work counts for nothing. */
  | { readonly step: 'known' }
  | { readonly step: 'rollBack'; readonly error: LockstepError }

export function afterWork({ isNew, notedIn, epoch }: WorkedFacts): WorkedStep {
  if (isNew === undefined) return { step: 'flush' }
  if (!isNew) return { step: 'known' }
  // A failover between the two may have lost the intent: nobody could settle the operation if this process died now.
  if (epoch === undefined || epoch === notedIn || mutationPoint('flush in a history without its intent'))
    return { step: 'flush' }
  const message = 'The history of the database was replaced after the operation had begun.'
  return { step: 'rollBack', error: new LockstepError('LS_CONNECTION_LOST', { message }) }
}

/** Answers to the statements of a flush. */
type Answers = Extract<CommitResult, { ending: 'committed' }>['flushed']

/** How a COMMIT has ended, as far as this process can tell. */
export type CommittedStep =
  | { readonly step: 'committed'; readonly row: unknown; readonly answers: Answers }
  | { readonly step: 'rolledBack'; readonly error: unknown }
  /** The ending is unknown: only the outcome row can tell. */
  | { readonly step: 'unknown'; readonly error: unknown }

/**
 * @param rowOf the outcome row among the answers to the flush
 * @param seen the first error of a statement of the transaction
 */
export function afterCommit(
  ending: CommitResult,
  rowOf: (answers: Answers) => unknown,
  seen: unknown,
): CommittedStep {
  if (ending.ending === 'rolled_back') return { step: 'rolledBack', error: toReported(ending.error, seen) }
  if (mutationPoint('lost COMMIT guessed as rolled back') && ending.ending === 'unknown')
    return { step: 'rolledBack', error: ending.error }
  if (ending.ending === 'unknown') return { step: 'unknown', error: ending.error }
  const answers = ending.flushed
  const row = rowOf(answers)
  if (row === undefined) return { step: 'unknown', error: new LockstepError('LS_CONNECTION_LOST') }
  return { step: 'committed', row, answers }
}

/**
 * The code of an attempt that failed.
 * @param isInterrupted an interruption is the reason, whatever the statements met then
 */
export function codeOfFailure(error: unknown, seen: unknown, isInterrupted: boolean): ErrorCode {
  return failureCode(error, isInterrupted ? undefined : seen)
}

/** Facts of the attempt that has just ended. */
export interface EndedAttempt {
  /** Absent where it did not roll back. */
  readonly code: ErrorCode | undefined
  /** Counted from 1. */
  readonly number: number
  readonly maxAttempts: number
  readonly isInterrupted: boolean
}

/** The longest pause before the next attempt, in milliseconds; undefined where the attempt that has ended was the last. */
export function nextAttemptWithinMs({
  code,
  number,
  maxAttempts,
  isInterrupted,
}: EndedAttempt): number | undefined {
  if (number >= mostAttempts(code, maxAttempts) || isInterrupted) return undefined
  return 10 * 2 ** number
}

/** Counts attempts: several after a conflict, one more after a read-only server, over another connection. */
function mostAttempts(code: ErrorCode | undefined, maxAttempts: number): number {
  if (code === 'LS_SERIALIZATION_FAILURE') return maxAttempts
  return code === 'LS_DATABASE_READ_ONLY' ? Math.min(2, maxAttempts) : 1
}

/**
 * An outcome that stands already must not look like a violated constraint of the application's own; and that a statement
 * had failed says less than what it failed with, where the work has caught that and returned.
 */
function toReported(error: unknown, seen: unknown): unknown {
  const code = failureCode(error)
  if (code === 'LS_OPERATION_FENCED') return new LockstepError(code, { cause: error })
  return code === 'LS_TRANSACTION_ABORTED' && seen !== undefined ? toLockstepError(seen, code) : error
}

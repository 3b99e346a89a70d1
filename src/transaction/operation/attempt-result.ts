import type { ErrorCode, Isolation, Mode, Moment, UserContext } from '../../core/index.ts'
import type { EmittedCounts, Landed, LogAppender } from '../../log/index.ts'
import type { OperationKey, PendingEvent } from '../../postgres/index.ts'
import type { LateCalls } from '../intents/late-calls.ts'
import type { OperationRollbackEvents } from '../parts/operation-rollback-events.ts'
import type { Part } from '../parts/part.ts'
import type { FlushQueue } from './flush-queue.ts'
import type { Hook } from './hook-runner.ts'
import type { Interruption } from './interruption.ts'
import type { OperationGuard } from './operation-guard.ts'
import type { OperationTrace } from './operation-trace.ts'
import type { Transaction } from './transaction.ts'

export interface AttemptRequest<Db, Result> {
  readonly key: OperationKey
  readonly log: Pick<LogAppender, 'flush'>
  readonly since: Moment
  readonly late: LateCalls
  readonly user: UserContext
  readonly interruption: Interruption
  /** Guard, in development, with the place where the operation was called. */
  readonly guard: OperationGuard | undefined
  readonly origin: Error | undefined
  /** Settles to whether this id has no outcome yet. Absent when no intent is written. */
  readonly intent: Promise<boolean> | undefined
  /** The history in which the intent was asked for. */
  readonly notedIn: string
  readonly mode: Mode
  readonly isolation: Isolation | undefined
  readonly trace: OperationTrace
  readonly flushes: FlushQueue
  /** Sends an event at once, where the mode lets events leave before the commit. */
  readonly emitNow?: ((event: PendingEvent) => void) | undefined
  /** Parts beside the events. */
  readonly parts: readonly Part<unknown>[]
  readonly rollbackEvents: OperationRollbackEvents
  readonly work: (tx: Transaction<Db>) => Promise<Result>
}

/** The hooks of the ending that stands: of an unknown one, once it is known. */
export type HooksOf = (ending: 'committed' | 'rolled_back') => readonly Hook[]

interface Failure {
  readonly error: unknown
  readonly code: ErrorCode
  readonly affectedLayers: readonly string[]
  readonly hooksOf: HooksOf
}

/** How one attempt at an operation ended, as far as this process could hear. */
export type AttemptResult<Result> =
  | {
      readonly ending: 'committed'
      readonly result: Result
      readonly landed: Landed
      /** Gives each part what its own rows answered. */
      readonly notifyParts: (failed: (part: string, error: unknown) => void) => void
      readonly hooksOf: HooksOf
      /** Epoch of the history that it was committed in. Absent where the database knows only one. */
      readonly epoch: string | undefined
    }
  | (Failure & { readonly ending: 'rolled_back' })
  /** `emitted` is what the log has of it, if it has committed. */
  | (Failure & { readonly ending: 'unknown'; readonly emitted: EmittedCounts; readonly result: unknown })
  /** The id was known already: nothing of this attempt was kept, and the stored outcome counts. */
  | { readonly ending: 'known' }

import type { FinalOutcome, OperationState } from './pending-operation.ts'
import type { StoredOperation } from './stored-operations.ts'
import type { Deferred } from './deferred.ts'

/** A call without an outcome, of this page or taken over from an earlier one, with all that waits for it. */
export interface Operation extends StoredOperation {
  /** Size of the input as JSON in UTF-8. */
  readonly bytes: number
  /** Called by this page, and not taken over from an earlier one. */
  readonly isOwn: boolean
  state: OperationState
  attempts: number
  /** True when a server may have got it before: from here, or from another page. */
  sentBefore: boolean
  waiter?: Deferred<FinalOutcome> | undefined
  endWait?: () => void
  cancelRetry?: (() => void) | undefined
  ignoreSignal?: () => void
}

/** Facts that a storage keeps of an operation, and that listeners hear. */
export function factsOf({ id, name, input, startedAt }: StoredOperation): StoredOperation {
  return { id, name, input, startedAt }
}

/** Ends all that waits for this operation. */
export function release(operation: Operation): void {
  cancelRetry(operation)
  operation.endWait?.()
  operation.ignoreSignal?.()
}

export function cancelRetry(operation: Operation): void {
  operation.cancelRetry?.()
  operation.cancelRetry = undefined
}

import { isLockstepError, LockstepError, toOffsets, type Offsets } from '../../core/index.ts'
import type { Settled } from '../../log/index.ts'
import { isOfStatement, type OperationKey } from '../../postgres/index.ts'
import { mutationPoint } from '../../protocol/mutation-point.ts'
import type { Notice } from '../../protocol/index.ts'
import type { BatchFailure } from './settlement-plan.ts'

/** Outcome that stands in the database after a settlement, no matter which node decided it. */
export type Settlement =
  | {
      readonly state: 'committed'
      readonly result: unknown
      readonly offsets: Offsets
      /** Epoch of the history that the commit stands in. */
      readonly epoch: string
      /** True when a copy on another node committed. Absent also when the settlement did not ask. */
      readonly isAnothers?: true
    }
  | {
      readonly state: 'rolled_back'
      readonly notice: Notice | null
      /** True when another node had decided the outcome and reported it. Absent also where that cannot be known. */
      readonly wasDecidedBefore?: true
    }

/**
 * Reads the answer to a settlement.
 * @throws LS_CONNECTION_LOST where the row was removed meanwhile; LS_OPERATION_ID_REUSED where it is of another input
 */
export function settledBy(row: Omit<Settled, 'events'> | undefined, key: OperationKey): Settlement {
  if (row === undefined || row.state === null) throw new LockstepError('LS_CONNECTION_LOST')
  const isAnothers = row.input_hash !== '' && row.input_hash !== key.inputHash
  if (isAnothers && !mutationPoint('settlement answers for another input')) {
    throw new LockstepError('LS_OPERATION_ID_REUSED')
  }
  if (row.state === 'rolled_back') {
    return { state: 'rolled_back', notice: row.notice, ...(row.settled ? {} : { wasDecidedBefore: true }) }
  }
  const { result, positions, epoch } = row
  return { state: 'committed', result: fromJson(result), offsets: toOffsets(positions), epoch }
}

/** A stored result: JSON text, or nothing for an operation that returned nothing. */
export function fromJson(text: string | null): unknown {
  return text === null ? undefined : JSON.parse(text)
}

/** Next step after the first settlement of an operation that rolled back has failed. */
export type UnsettledStep =
  /** The id belongs to another operation: the caller has misused it. */
  | 'refuse'
  /** The database is there, and somebody is in the way: perhaps another copy in its COMMIT. The caller waits. */
  | 'askOn'
  /** The database is away, and another copy may have come first: the caller is told that nothing is known. */
  | 'tellPending'
  /** The database is away, and this copy is the only one: the caller is told at once, and the durable notice follows. */
  | 'tellFromMemory'

export function afterFailedSettlement(error: unknown, isRepeated: boolean): UnsettledStep {
  if (isLockstepError(error, 'LS_OPERATION_ID_REUSED')) return 'refuse'
  // Ask on where another transaction was in the way: nothing was written, and the next attempt comes behind it.
  if (isHeldUp(error) || isLockstepError(error, 'LS_SERIALIZATION_FAILURE')) return 'askOn'
  return isRepeated ? 'tellPending' : 'tellFromMemory'
}

const firstRetryMs = 50
const longestRetryMs = 2_000

/** The search for an outcome that is not known yet: how it goes on after each answer. Pure: `Settler` asks and waits. */
export class OutcomeSearch {
  #hasFailed = false
  #isSuspect: boolean
  #retryMs = firstRetryMs

  /** @param after why a try before this search did not settle it, where there was one */
  constructor(after?: unknown) {
    this.#isSuspect = isOfOne(after)
  }

  /** True when the operation may be holding up others of its batch, so that it has to go alone. */
  get isSuspect(): boolean {
    return this.#isSuspect
  }

  /** Adjusts an answer. An attempt whose reply was lost may have been the one that decided. */
  found(settled: Settlement): Settlement {
    if (settled.state === 'committed' || !this.#hasFailed) return settled
    return { state: settled.state, notice: settled.notice }
  }

  /** @returns how long to wait before the question is asked again; undefined: never */
  failed(error: unknown): number | undefined {
    this.#hasFailed = true
    this.#isSuspect = isOfOne(error)
    if (isLockstepError(error, 'LS_OPERATION_ID_REUSED')) return undefined
    const retryMs = this.#retryMs
    this.#retryMs = Math.min(retryMs * 2, longestRetryMs)
    return retryMs
  }
}

/** True when one operation of a batch may be the cause: its locks are held, or the server refuses what it writes. */
function isOfOne(error: unknown): boolean {
  return batchFailure(error) !== 'ofAll'
}

/** Says what an error tells about the batch that met it. */
export function batchFailure(error: unknown): BatchFailure {
  if (isHeldUp(error)) return 'heldUp'
  return isOfStatement(error) ? 'ofOne' : 'ofAll'
}

function isHeldUp(error: unknown): boolean {
  return isLockstepError(error, 'LS_STATEMENT_TIMEOUT')
}

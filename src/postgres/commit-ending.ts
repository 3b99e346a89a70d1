import { LockstepError, type CommitResult } from '../core/index.ts'
import type { FlightResults } from './pg-flight.ts'
import { toRows } from './pg-statements.ts'

/** The end of the flight that carries a flush and its COMMIT. */
export function commitResultOf(results: FlightResults): CommitResult {
  // The tag of a COMMIT in a transaction that had failed is ROLLBACK, and no error.
  return results.at(-1)?.command === 'COMMIT'
    ? { ending: 'committed', flushed: results.slice(0, -1).map((result) => toRows(result)) }
    : { ending: 'rolled_back', error: new LockstepError('LS_TRANSACTION_ABORTED') }
}

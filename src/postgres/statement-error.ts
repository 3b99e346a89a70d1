import { LockstepError } from '../core/index.ts'
import { noteDatabaseError, sqlState, toLockstepError } from './sqlstate.ts'

/** The error of a statement of the user's code: the driver's own, unless it needs explaining. */
export function toStatementError(error: unknown): unknown {
  noteDatabaseError(error)
  if (endsTransactions.has(sqlState(error) ?? '')) return toLockstepError(error)
  return isOfSeveral(error)
    ? new LockstepError('LS_STATEMENT_UNSUPPORTED', {
        message:
          'A text of several statements was refused: the first of them could have been kept without the others. ' +
          'Send each statement by a call of its own; they travel together when you do not await each.',
        cause: error,
      })
    : error
}

/** The server ended the transaction because it took too long, by idle_in_transaction_session_timeout or transaction_timeout. */
const endsTransactions: ReadonlySet<string> = new Set(['25P03', '25P04'])

/** Postgres has this state for each error of syntax; the function that found it is told in any language. */
function isOfSeveral(error: unknown): boolean {
  return sqlState(error) === '42601' && Reflect.get(error as object, 'routine') === 'exec_parse_message'
}

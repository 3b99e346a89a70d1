import type { QueryConfig, QueryResult, QueryResultRow } from 'pg'
import { LockstepError, type SavepointWatch, type SqlClient } from '../core/index.ts'
import type { TransactionGuard } from './transaction-guard.ts'
import { readUserStatement } from './user-statement.ts'

/** A result of `pg`, typed by its rows. */
export type PgResult<Row> = Omit<QueryResult, 'rows'> & { readonly rows: Row[] }

/** Where statements go: a pool, a connection, a transaction. */
export interface PgTarget {
  /** Has to be waited for before a statement is sent. */
  readonly pending?: Promise<void> | undefined
  /** Absent where nothing hangs on savepoints. */
  readonly savepointWatch?: SavepointWatch | undefined
  query<Row extends QueryResultRow>(statement: QueryConfig): Promise<QueryResult<Row>>
}

/**
 * The `query` of a `pg` client, for as long as its transaction is open. Has the shape that Drizzle and Kysely
 * expect of a `pg` client, so either can be built on it.
 */
export class PgTransactionClient implements SqlClient {
  readonly #target: PgTarget
  readonly #guard: TransactionGuard

  constructor(target: PgTarget, guard: TransactionGuard) {
    this.#target = target
    this.#guard = guard
  }

  /**
   * Sends one statement inside the transaction.
   * @throws LS_TRANSACTION_CLOSED, LS_SAVEPOINT_OPEN, LS_TRANSACTION_CONTROL, and the driver's own errors
   */
  // The default row type is pg's own, so that code written against a pg client fits unchanged.
  // oxlint-disable-next-line typescript/no-explicit-any
  async query<Row = any>(config: string | QueryConfig, values?: readonly unknown[]): Promise<PgResult<Row>> {
    this.#guard.assertUsable()
    const savepoint = readUserStatement(typeof config === 'string' ? config : config.text)
    if (typeof values === 'function') {
      throw new LockstepError('LS_CONFIG_INVALID', {
        message: 'tx.db.query returns a promise; the callback form is not supported.',
      })
    }
    const isCarriedOut = savepoint === undefined ? undefined : this.#target.savepointWatch?.(savepoint)
    const { pending } = this.#target
    if (pending !== undefined) {
      await pending
      this.#guard.assertUsable()
    }
    const sent = this.#target.query<Row & QueryResultRow>(toConfig(config, values))
    if (isCarriedOut === undefined) return sent
    const result = await sent
    isCarriedOut()
    return result
  }
}

function toConfig(config: string | QueryConfig, values: readonly unknown[] | undefined): QueryConfig {
  if (typeof config === 'string')
    return values === undefined ? { text: config } : { text: config, values: [...values] }
  return values === undefined ? config : { ...config, values: [...values] }
}

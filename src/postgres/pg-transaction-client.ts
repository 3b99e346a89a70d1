import type { QueryConfig, QueryResult, QueryResultRow } from 'pg'
import { LockstepError, type SqlClient } from '../core/index.ts'
import { assertNoTransactionControl, type TransactionGuard } from './transaction-guard.ts'

/** A result of `pg`, typed by its rows. */
export type PgResult<Row> = Omit<QueryResult, 'rows'> & { readonly rows: Row[] }

/** Where statements go: a pool, a connection, a transaction. */
export interface PgTarget {
  /** Has to be waited for before a statement is sent. */
  readonly pending?: Promise<void> | undefined
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
    assertNoTransactionControl(typeof config === 'string' ? config : config.text)
    if (typeof values === 'function') {
      throw new LockstepError('LS_CONFIG_INVALID', {
        message: 'tx.db.query returns a promise; the callback form is not supported.',
      })
    }
    const { pending } = this.#target
    if (pending !== undefined) {
      await pending
      this.#guard.assertUsable()
    }
    return this.#target.query<Row & QueryResultRow>(toConfig(config, values))
  }
}

function toConfig(config: string | QueryConfig, values: readonly unknown[] | undefined): QueryConfig {
  if (typeof config === 'string')
    return values === undefined ? { text: config } : { text: config, values: [...values] }
  return values === undefined ? config : { ...config, values: [...values] }
}

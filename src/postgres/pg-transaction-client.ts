import type { PoolClient, QueryConfig, QueryResult, QueryResultRow } from 'pg'
import { disregard, peek, type SavepointWatch, type SqlClient } from '../core/index.ts'
import type { DatabaseState } from './database-state.ts'
import type { TransactionGuard } from './transaction-guard.ts'
import { assertCallback, assertText, assertValues, refuseSubmittable } from './statement-arguments.ts'
import { readUserStatement } from './user-statement.ts'
import { toStatementError } from './statement-error.ts'
import { watched } from './watched.ts'

/** A result of `pg`, typed by its rows. */
export type PgResult<Row> = Omit<QueryResult, 'rows'> & { readonly rows: Row[] }

/** Callback of `pg`: an error, or a result. */
export type PgCallback<Row> = (error: Error | null, result?: PgResult<Row>) => void

/** Target of statements: a pool, a connection, a transaction. */
export interface PgTarget {
  /** Promise to wait for before a statement is sent. */
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
   * Sends one statement inside the transaction, by the extended protocol. Answers a promise, or calls back as `pg` does.
   * @throws LS_TRANSACTION_CLOSED, LS_SAVEPOINT_OPEN, LS_TRANSACTION_CONTROL, LS_STATEMENT_UNSUPPORTED, and the
   * driver's own errors
   */
  // The default row type is pg's own, so that code written against a pg client fits unchanged.
  // oxlint-disable-next-line typescript/no-explicit-any
  query<Row = any>(config: string | QueryConfig, values?: readonly unknown[]): Promise<PgResult<Row>>
  // oxlint-disable-next-line typescript/no-explicit-any
  query<Row = any>(config: string | QueryConfig, callback: PgCallback<Row>): void
  // oxlint-disable-next-line typescript/no-explicit-any
  query<Row = any>(
    config: string | QueryConfig,
    values: readonly unknown[] | undefined,
    callback: PgCallback<Row>,
  ): void
  query<Row>(
    config: string | QueryConfig,
    second?: readonly unknown[] | PgCallback<Row>,
    third?: PgCallback<Row>,
  ): Promise<PgResult<Row>> | undefined {
    // `pg` hands such an object back at once, so a promise that rejects would come too late.
    refuseSubmittable(config)
    const [values, callback] = typeof second === 'function' ? [undefined, second] : [second, third]
    assertCallback(callback)
    const sent = this.#query<Row>(config, values)
    if (callback === undefined) return sent
    disregard(callBack(sent, callback))
    return undefined
  }

  async #query<Row>(
    config: string | QueryConfig,
    values: readonly unknown[] | undefined,
  ): Promise<PgResult<Row>> {
    this.#guard.assertUsable()
    const text: unknown = typeof config === 'object' ? peek(config, 'text') : config
    assertText(text)
    assertValues(values ?? peek(config, 'values'))
    const savepoint = readUserStatement(text)
    const settle = savepoint === undefined ? undefined : this.#target.savepointWatch?.(savepoint)
    const send = (): Promise<PgResult<Row>> =>
      this.#target.query<Row & QueryResultRow>(toConfig(config, values))
    if (settle === undefined && this.#target.pending === undefined) return send()
    const sendInTurn = async (): Promise<PgResult<Row>> => {
      const { pending } = this.#target
      // Send at once where nothing is waited for: statements keep the order in which they were called.
      if (pending !== undefined) {
        await pending
        this.#guard.assertUsable()
      }
      return send()
    }
    return settle === undefined ? sendInTurn() : watched(settle, sendInTurn)
  }
}

/** A pool: each statement goes over whichever connection `lend` gives, which throws errors of the catalogue. */
export function poolTarget(lend: () => Promise<PoolClient>, state: DatabaseState): PgTarget {
  return {
    async query<Row extends QueryResultRow>(statement: QueryConfig): Promise<QueryResult<Row>> {
      const client = await lend()
      try {
        const result = await client.query<Row>(inExtendedProtocol(statement))
        client.release()
        return result
      } catch (error) {
        // Discard the connection after an error, as `pool.query` does.
        client.release(true)
        state.note(error)
        throw toStatementError(error)
      }
    },
  }
}

/** Copies the statement with its own properties and getters as they are. */
function inExtendedProtocol(statement: QueryConfig): QueryConfig {
  return Object.create(statement, { queryMode: { value: 'extended', enumerable: true } }) as QueryConfig
}

/** An error that the callback throws is uncaught, as with `pg`. */
async function callBack<Row>(sent: Promise<PgResult<Row>>, callback: PgCallback<Row>): Promise<void> {
  try {
    const result = await sent
    process.nextTick(callback, null, result)
  } catch (error) {
    process.nextTick(callback, error)
  }
}

/** Code without types may give `null` for no values, as `pg` allows. */
function toConfig(config: string | QueryConfig, values: readonly unknown[] | null | undefined): QueryConfig {
  const given = values ?? undefined
  if (typeof config === 'string')
    return given === undefined ? { text: config } : { text: config, values: [...given] }
  return given === undefined ? config : { ...config, text: config.text, values: [...given] }
}

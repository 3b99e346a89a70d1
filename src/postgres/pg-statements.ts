import type { Pool, PoolClient, QueryConfig, QueryResult } from 'pg'
import type { Rows, Statement } from '../core/index.ts'
import { toAsciiValues } from './ascii.ts'
import type { DatabaseState } from './database-state.ts'
import { ownTypes } from './own-types.ts'
import { toLockstepError, toOwnError } from './sqlstate.ts'
import type { StatementNames } from './statement-names.ts'
import type { TimeLimit } from '../core/index.ts'

/**
 * A statement that fails when no answer has come in time. A connection that has gone silent (a partition, a
 * machine that died) gives no error by itself for many minutes; `pg` destroys it then.
 */
export function timed(statement: Statement, options: SendOptions): QueryConfig {
  // pg reads it from the query as well as from the connection; @types/pg knows the second only.
  const config = toConfig(statement, options) as QueryConfig & { query_timeout: number }
  config.query_timeout = options.limit.ms
  return config
}

/** Converts a statement for a flight, which has a time limit of its own. */
export function toConfig(
  { text, values = [], name, isPlain }: Statement,
  { names, isAscii }: SendOptions,
): QueryConfig {
  const config: QueryConfig = { text, types: ownTypes }
  if (values.length === 0) return config
  config.values = isAscii === true && isPlain !== true ? toAsciiValues(values) : (values as unknown[])
  const prepared = names.of(name)
  if (prepared !== undefined) config.name = prepared
  return config
}

export interface SendOptions {
  readonly limit: TimeLimit
  readonly names: StatementNames
  /** Hears of every error. */
  readonly state: DatabaseState
  /** Schema of Lockstep's tables, unquoted. */
  readonly schemaName: string
  /** The connection does not carry every character, so values are sent in ASCII (`toAscii`). */
  readonly isAscii?: boolean
}

/** Sends one of Lockstep's own statements. @throws errors of the catalogue */
export async function send<Row>(
  target: Pool | PoolClient,
  statement: Statement,
  options: SendOptions,
): Promise<Rows<Row>> {
  try {
    return toRows<Row>(await target.query(timed(statement, options)))
  } catch (error) {
    const mappedError = toOwnError(error, options.schemaName)
    options.state.note(error, mappedError)
    // Send again where the server has lost the statement's name: it was refused before it ran. Inside a transaction the
    // second one is refused too, and its error says so.
    if (options.names.wasLost(error)) return send<Row>(target, statement, options)
    throw mappedError
  }
}

/** Longest time for one script of a migration, the wait for another node's migration included, in milliseconds. */
const longestScriptMs = 15 * 60_000

/** Sends several statements in one text, without parameters. @throws errors of the catalogue */
export async function sendScript(client: PoolClient, sql: string): Promise<void> {
  const script: QueryConfig & { query_timeout: number } = { text: sql, query_timeout: longestScriptMs }
  try {
    await client.query(script)
  } catch (error) {
    throw toLockstepError(error, 'LS_CONNECTION_LOST')
  }
}

export function toRows<Row>(result: QueryResult): Rows<Row> {
  return { rows: result.rows as readonly Row[], count: result.rowCount ?? 0 }
}

/** False when the connection is gone: the server rolls back by itself then, and the caller discards the client. */
export async function tryRollback(client: PoolClient, options: SendOptions): Promise<boolean> {
  try {
    await client.query(timed({ text: 'rollback' }, options))
    return true
  } catch {
    return false
  }
}

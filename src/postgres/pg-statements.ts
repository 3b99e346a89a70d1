import type { Pool, PoolClient, QueryResult } from 'pg'
import type { Rows, Statement } from '../core/index.ts'
import { toLockstepError } from './sqlstate.ts'

/** Sends one of Lockstep's own statements. @throws errors of the catalogue */
export async function send<Row>(target: Pool | PoolClient, statement: Statement): Promise<Rows<Row>> {
  try {
    return toRows<Row>(await target.query(statement.text, [...(statement.values ?? [])]))
  } catch (error) {
    throw toLockstepError(error, 'LS_CONNECTION_LOST')
  }
}

/** Sends several statements in one text, without parameters. @throws errors of the catalogue */
export async function sendScript(client: PoolClient, sql: string): Promise<void> {
  try {
    await client.query(sql)
  } catch (error) {
    throw toLockstepError(error, 'LS_CONNECTION_LOST')
  }
}

export function toRows<Row>(result: QueryResult): Rows<Row> {
  return { rows: result.rows as readonly Row[], count: result.rowCount ?? 0 }
}

/** False when the connection is gone: the server rolls back by itself then, and the caller discards the client. */
export async function tryRollback(client: PoolClient): Promise<boolean> {
  try {
    await client.query('rollback')
    return true
  } catch {
    return false
  }
}

import pg from 'pg'
import { LockstepError } from '../core/index.ts'
import { canRenewEpoch, fromPool, readHistory, renewEpoch } from '../postgres/index.ts'

export interface Renewal {
  readonly from: string
  readonly to: string
}

/**
 * Begins a new epoch, whichever stands.
 * @throws LS_CONFIG_INVALID for a schema without the tables of this version; database errors
 */
export async function renewEpochByHand(url: string, schemaName: string): Promise<Renewal> {
  // The pool itself sends nothing: `own` has connections of its own.
  const pool = new pg.Pool({ connectionString: url, max: 1 })
  const database = fromPool(pool, { schema: schemaName, ownConnections: 1 })
  const { own, schema } = database
  try {
    const { rows } = await own.query<{ is_there: boolean }>(canRenewEpoch(schema))
    if (rows[0]?.is_there !== true) {
      throw new LockstepError('LS_CONFIG_INVALID', {
        message:
          `the schema "${schemaName}" of this database does not hold the tables of this version of Lockstep. ` +
          'Name the right one with --schema, or start a node of this version once, which brings the tables up to date.',
      })
    }
    const before = await own.query<{ epoch: string }>(readHistory(schema, null))
    const after = await own.query<{ epoch: string }>(renewEpoch(schema, null))
    return { from: before.rows[0]?.epoch ?? '', to: after.rows[0]?.epoch ?? '' }
  } finally {
    await database.close()
    await pool.end()
  }
}

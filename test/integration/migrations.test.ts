import pg from 'pg'
import { expect, it } from 'vitest'
import { fromPool } from '../../src/postgres/index.ts'
import { createTestDatabase } from '../support/database.ts'

it('a node that starts while another one migrates waits for it, however long that takes', async () => {
  const test = await createTestDatabase()
  const pool = new pg.Pool({ connectionString: test.url, max: 2 })
  const migrating = await pool.connect()
  const database = fromPool(pool, { statementTimeoutMs: 200 })
  try {
    await migrating.query('begin')
    await migrating.query(
      `select pg_advisory_xact_lock(hashtextextended('lockstep.migrate.' || 'lockstep', 0))`,
    )
    const second = database.migrate()
    const waited = migrating.query('select pg_sleep(1); commit')
    expect(await Promise.all([second, waited])).toHaveLength(2)
  } finally {
    migrating.release()
    await database.close()
    await pool.end()
    await test.drop()
  }
})

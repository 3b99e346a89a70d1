import { randomUUID } from 'node:crypto'
import pg from 'pg'
import { expect, it } from 'vitest'
import { fromPool, readOperations, readViolations } from '../../../src/postgres/index.ts'
import { migrations } from '../../../src/postgres/migrations.generated.ts'
import { createTestDatabase } from '../../support/database.ts'

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

it('the outcomes and violations of a schema whose ids were global are those of their users afterwards', async () => {
  const test = await createTestDatabase()
  const pool = new pg.Pool({ connectionString: test.url, max: 2 })
  const database = fromPool(pool, { schema: 'before' })
  try {
    await pool.query('create schema before')
    await pool.query(
      'create table before.migrations (version integer primary key, name text, applied_at timestamptz)',
    )
    for (const { version, name, sql } of migrations.filter((migration) => migration.version < 7)) {
      await pool.query(sql.replaceAll('{schema}', '"before"'))
      await pool.query('insert into before.migrations values ($1, $2, now())', [version, name])
    }
    const id = randomUUID()
    await pool.query(
      `insert into before.operations (id, name, user_id, input_hash, state) values ($1, 'send', 'ada', 'x', 'committed')`,
      [id],
    )
    await pool.query(
      `insert into before.health_violations (operation_id, kind, node, layers, at, detail)
       values ($1, 'cache_stale', 'n', '[]', now(), 'd')`,
      [id],
    )
    await database.migrate()
    const insert = `insert into before.operations (id, name, user_id, input_hash, state) values ($1, 'send', $2, 'x', 'committed')`
    await pool.query(insert, [id, 'eve'])
    await expect(pool.query(insert, [id, 'ada'])).rejects.toMatchObject({
      constraint: 'lockstep_one_outcome',
    })
    const { rows } = await database.own.query(readOperations(database.schema, 'ada', [id]))
    expect(rows).toMatchObject([{ id, user_id: 'ada' }])
    expect((await database.own.query(readViolations(database.schema, 9))).rows).toMatchObject([
      { operation_id: id, user_id: '' },
    ])
  } finally {
    await database.close()
    await pool.end()
    await test.drop()
  }
})

import pg from 'pg'
import { expect, it } from 'vitest'
import { fromPool } from '../../../src/postgres/index.ts'
import { createTestDatabase } from '../../support/database.ts'

it('needs no right to create schemas when it owns its own, and says so when it has neither', async () => {
  const test = await createTestDatabase()
  const admin = new pg.Pool({ connectionString: test.url, max: 1 })
  // Dropping the database may end a connection that is still on its way out.
  admin.on('connect', (client) => client.on('error', () => {}))
  const role = `lockstep_role_${Date.now().toString(36)}`
  const url = new URL(test.url)
  url.username = role
  url.password = role
  const pool = new pg.Pool({ connectionString: url.href, max: 1 })
  const migrate = async (schema: string) => {
    const database = fromPool(pool, { schema })
    try {
      await database.migrate()
    } finally {
      await database.close()
    }
  }
  try {
    await admin.query(`create role ${role} login password '${role}'`)
    await admin.query(`create schema its_own authorization ${role}`)
    await expect(migrate('its_own')).resolves.toBeUndefined()
    await expect(migrate('not_there')).rejects.toMatchObject({ code: 'LS_DATABASE_RIGHTS' })
  } finally {
    await pool.end()
    await admin.query(`drop owned by ${role}`)
    await admin.query(`drop role ${role}`)
    await admin.end()
    await test.drop()
  }
})

import pg from 'pg'
import { fromPool } from '../../src/postgres/index.ts'

/** Brings the template database, from which each test database is cloned, to the current schema. */
export async function prepareTemplate(url: string): Promise<void> {
  const pool = new pg.Pool({ connectionString: url, max: 1 })
  const database = fromPool(pool)
  try {
    await database.migrate()
  } finally {
    await database.close()
    await pool.end()
  }
}

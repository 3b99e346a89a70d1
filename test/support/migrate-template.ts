import pg from 'pg'
import { readPlanted } from './planted.ts'
import { plantInDatabase } from '../faults/database-bugs.ts'
import { fromPool } from '../../src/postgres/index.ts'

/** Brings the template database, from which each test database is cloned, to the current schema, with the bugs that are planted there. */
export async function prepareTemplate(url: string): Promise<void> {
  const pool = new pg.Pool({ connectionString: url, max: 1 })
  const database = fromPool(pool)
  try {
    await database.migrate()
  } finally {
    await database.close()
    await pool.end()
  }
  await plantInDatabase(url, readPlanted().database ?? [])
}

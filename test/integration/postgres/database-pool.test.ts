import pg from 'pg'
import { fromPool } from '../../../src/postgres/index.ts'
import { databaseConformance, type DatabaseFixture } from '../../conformance/database-conformance.ts'
import { statementConformance } from '../../conformance/statement-conformance.ts'
import { createTestDatabase } from '../../support/database.ts'

for (const pipeline of [true, false]) {
  const open = async (): Promise<DatabaseFixture> => {
    const test = await createTestDatabase()
    const pool = new pg.Pool({ connectionString: test.url, max: 4, pipeline })
    const database = fromPool(pool)
    return {
      database,
      async close() {
        await database.close()
        await pool.end()
        await test.drop()
      },
    }
  }
  databaseConformance(`fromPool, pipeline ${pipeline}`, open)
  statementConformance(`fromPool, pipeline ${pipeline}`, open)
}

import { PGlite } from '@electric-sql/pglite'
import { fromPglite } from '../../../src/postgres/index.ts'
import { databaseConformance, type DatabaseFixture } from '../../conformance/database-conformance.ts'
import { statementConformance } from '../../conformance/statement-conformance.ts'

const open = async (): Promise<DatabaseFixture> => {
  const pglite = await PGlite.create()
  const database = fromPglite(pglite)
  return {
    database,
    async close() {
      await database.close()
      await pglite.close()
    },
  }
}

databaseConformance('fromPglite', open)
statementConformance('fromPglite', open)

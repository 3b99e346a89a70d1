import { PGlite } from '@electric-sql/pglite'
import { fromPglite } from '../../src/postgres/index.ts'
import { databaseConformance } from '../conformance/database-conformance.ts'

databaseConformance('fromPglite', async () => {
  const pglite = await PGlite.create()
  const database = fromPglite(pglite)
  return {
    database,
    async close() {
      await database.close()
      await pglite.close()
    },
  }
})

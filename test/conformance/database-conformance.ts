import { afterAll, beforeAll, describe } from 'vitest'
import type { Database, SqlClient } from '../../src/core/index.ts'
import { registerNode } from '../../src/postgres/index.ts'
import { createDatabaseWorld } from './database-world.ts'
import { outcomeConformance } from './outcome-conformance.ts'
import { transactionConformance } from './transaction-conformance.ts'

export interface DatabaseFixture {
  readonly database: Database<SqlClient>
  close(): Promise<void>
}

/**
 * The contract of every driver. Each driver's own test file calls this, and adds only what is particular to that
 * driver.
 */
export function databaseConformance(name: string, open: () => Promise<DatabaseFixture>): void {
  describe(`database contract: ${name}`, () => {
    let fixture: DatabaseFixture
    let database: Database<SqlClient>
    const world = createDatabaseWorld(() => database)

    beforeAll(async () => {
      fixture = await open()
      database = fixture.database
      await database.migrate()
      await database.own.query(registerNode(database.schema, world.node, 60_000))
      await database.db.query('create table things (id text primary key, body text)')
      await database.db.query(
        `create table late (id int primary key, of int references late (id) deferrable initially deferred)`,
      )
    })
    afterAll(() => fixture.close())

    transactionConformance(world)
    outcomeConformance(world)
  })
}

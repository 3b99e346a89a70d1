import { randomBytes } from 'node:crypto'
import { inject } from 'vitest'
import { createDatabase, databaseUrl, dropDatabase } from '../../tools/embedded-postgres/index.ts'

export type TestDatabase = {
  readonly url: string
  readonly name: string
  /** Drops the database, ending connections that are still open. */
  drop(): Promise<void>
}

/** A database for one test file, cloned from the migrated template. */
export async function createTestDatabase(): Promise<TestDatabase> {
  const { url, template } = inject('postgres')
  const name = `lockstep_test_${randomBytes(6).toString('hex')}`
  await createDatabase(url, name, { template })
  return { url: databaseUrl(url, name), name, drop: () => dropDatabase(url, name) }
}

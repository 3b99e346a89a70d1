// Starts a Postgres server once per test run, and in it a migrated template that createTestDatabase() clones.
import { randomBytes } from 'node:crypto'
import type { TestProject } from 'vitest/node'
import { createDatabase, databaseUrl, dropDatabase } from '../../tools/embedded-postgres/index.ts'
import { prepareTemplate } from './migrate-template.ts'
import { startTestPostgres } from './postgres.ts'

declare module 'vitest' {
  interface ProvidedContext {
    postgres: { readonly url: string; readonly template: string }
  }
}

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const postgres = await startTestPostgres()
  // The template has a name of its own: a given server may serve several runs at once.
  const template = `lockstep_template_${randomBytes(4).toString('hex')}`
  await createDatabase(postgres.url, template)
  await prepareTemplate(databaseUrl(postgres.url, template))
  project.provide('postgres', { url: postgres.url, template })
  return async () => {
    await dropDatabase(postgres.url, template)
    await postgres.stop()
  }
}

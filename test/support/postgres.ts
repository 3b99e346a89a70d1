// The Postgres servers that tests run on: one fast server for the whole run, and servers of their own for crash tests.
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  endAbandonedPostgres,
  startEmbeddedPostgres,
  type EmbeddedPostgres,
} from '../../tools/embedded-postgres/index.ts'

const directoryPrefix = 'lockstep-test-postgres-'

export type TestPostgres = {
  /** Superuser URL of an administrative database. */
  readonly url: string
  readonly stop: () => Promise<void>
}

export type OwnPostgres = {
  readonly server: EmbeddedPostgres
  /** Ends the server and removes its data. */
  readonly close: () => Promise<void>
}

/** The server of a test run: `TEST_DATABASE_URL` when set (left as it was found), else a fresh embedded one. */
export async function startTestPostgres(): Promise<TestPostgres> {
  const given = process.env['TEST_DATABASE_URL']
  if (given) return { url: given, stop: async () => {} }
  await removeAbandoned()
  const { server, close } = await startOwnPostgres({ durable: false })
  return { url: server.url, stop: close }
}

/** An embedded server that no other test shares, for tests that crash or stop it; durable unless told otherwise. */
export async function startOwnPostgres(options: { readonly durable?: boolean } = {}): Promise<OwnPostgres> {
  const directory = await mkdtemp(join(tmpdir(), directoryPrefix))
  const remove = () => removeDirectory(directory)
  try {
    const server = await startEmbeddedPostgres({ directory, ...options })
    return {
      server,
      close: async () => {
        await server.stop('immediate')
        await remove()
      },
    }
  } catch (error) {
    await remove()
    throw error
  }
}

// A test run that was killed could not clean up.
async function removeAbandoned(): Promise<void> {
  for (const name of await readdir(tmpdir())) {
    const directory = join(tmpdir(), name)
    if (!name.startsWith(directoryPrefix)) continue
    if (await endAbandonedPostgres(directory)) await removeDirectory(directory)
  }
}

const removeDirectory = (directory: string): Promise<void> =>
  rm(directory, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 })

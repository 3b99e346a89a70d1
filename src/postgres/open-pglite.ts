import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { lockDirectory } from './directory-lock.ts'
import type { PgliteLike } from './from-pglite.ts'

export interface OpenedPglite {
  readonly pglite: PgliteLike
  /** Closes the instance and gives the directory free. */
  close(): Promise<void>
}

interface PgliteModule {
  readonly PGlite: {
    create(options: { dataDir: string }): Promise<PgliteLike & { close(): Promise<void> }>
  }
}

/**
 * Opens a PGlite database in a directory and holds a lock file on it, since a second process on the same
 * directory would corrupt it. Needs `@electric-sql/pglite` to be installed by the application.
 * @throws LS_DIRECTORY_LOCKED when a living process holds the directory
 */
export async function openPglite(directory: string): Promise<OpenedPglite> {
  mkdirSync(directory, { recursive: true })
  const unlock = lockDirectory(directory)
  try {
    const name = '@electric-sql/pglite'
    const { PGlite } = (await import(name)) as PgliteModule
    const pglite = await PGlite.create({ dataDir: join(directory, 'data') })
    return {
      pglite,
      async close() {
        try {
          await pglite.close()
        } finally {
          unlock()
        }
      },
    }
  } catch (error) {
    unlock()
    throw error
  }
}

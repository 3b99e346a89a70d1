import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { LockstepError, peek } from '../core/index.ts'
import { lockDirectory } from './directory-lock.ts'
import { assertDirectory } from './given-database.ts'
import type { PgliteLike } from './pglite-statements.ts'

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
 * @throws LS_DIRECTORY_LOCKED when a living process holds the directory; LS_CONFIG_INVALID without that package
 */
export async function openPglite(directory: string): Promise<OpenedPglite> {
  assertDirectory(directory)
  mkdirSync(directory, { recursive: true })
  const unlock = lockDirectory(directory)
  try {
    const { PGlite } = await importPglite()
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

async function importPglite(): Promise<PgliteModule> {
  const name = '@electric-sql/pglite'
  try {
    return (await import(name)) as PgliteModule
  } catch (cause) {
    if (peek(cause, 'code') !== 'ERR_MODULE_NOT_FOUND') throw cause
    throw new LockstepError('LS_CONFIG_INVALID', {
      message: `openPglite needs the package ${name}, which is not installed. Run npm install ${name}.`,
      cause,
    })
  }
}

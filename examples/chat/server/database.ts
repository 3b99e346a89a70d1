import { join } from 'node:path'
import pg from 'pg'
import { fromPglite, fromPool, openPglite, type Database, type SqlClient } from 'lockstep'
import { EmbeddedPostgresError, startEmbeddedPostgres } from '../../../tools/embedded-postgres/index.ts'
import type { Config } from './config.ts'

export interface OpenDatabase {
  /** Description for the line that says where the data is. */
  readonly description: string
  readonly database: Database<SqlClient>
  close(): Promise<void>
}

type Log = (line: string) => void

/** The given Postgres, else an embedded one, else PGlite. */
export async function openDatabase(config: Config, log: Log): Promise<OpenDatabase> {
  if (config.databaseUrl !== undefined)
    return openPostgres(config.databaseUrl, 'the database of DATABASE_URL')
  if (config.pglite) return openPgliteIn(config)
  const directory = join(config.dataDirectory, 'postgres')
  try {
    const server = await startEmbeddedPostgres({ directory, log })
    const opened = openPostgres(server.url, `embedded Postgres in ${directory}`)
    return {
      ...opened,
      async close() {
        await opened.close()
        await server.stop()
      },
    }
  } catch (error) {
    // Leave any other error, such as another process on the directory, to the person to decide about.
    if (!(error instanceof EmbeddedPostgresError) || error.code !== 'unavailable') throw error
    log(`embedded Postgres cannot run here, so PGlite is used, with a single process (${error.message})`)
    return openPgliteIn(config)
  }
}

function openPostgres(connectionString: string, description: string): OpenDatabase {
  const pool = new pg.Pool({ connectionString, max: 10 })
  return { description, database: fromPool(pool), close: () => pool.end() }
}

async function openPgliteIn(config: Config): Promise<OpenDatabase> {
  const directory = join(config.dataDirectory, 'pglite')
  const opened = await openPglite(directory)
  return {
    description: `PGlite in ${directory}`,
    database: fromPglite(opened.pglite),
    close: () => opened.close(),
  }
}

// The Postgres of a run, and its share of the processor.
import { randomBytes } from 'node:crypto'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import {
  databaseUrl,
  endAbandonedPostgres,
  startEmbeddedPostgres,
} from '../../tools/embedded-postgres/index.ts'
import { processCpuUs } from './process-cpu.ts'

export interface BenchPostgres {
  /** Superuser URL of an administrative database. */
  readonly url: string
  readonly version: string
  /** A new database; resolves to its URL. */
  createDatabase(sql?: string): Promise<string>
  /** Vacuums and analyses a database, so that neither falls into a turn. */
  tidy(databaseUrl: string): Promise<void>
  /**
   * Processor time so far, in microseconds, of the sessions of this database and of what serves all of them (writers of
   * the WAL, of pages and the like), which is only of use as a difference. NaN where /proc is not there.
   */
  cpuUs(databaseUrl: string): Promise<number>
  close(): Promise<void>
}

const directoryPrefix = 'lockstep-bench-postgres-'
const settings = {
  // A checkpoint in the middle of one variant's turn would be charged to that variant.
  max_wal_size: '8GB',
  checkpoint_timeout: '1h',
  // Turn vacuums off as well; `tidy` does them between turns.
  autovacuum: 'off',
}

/** An embedded server with `fsync` on, in a folder of its own. */
export async function startBenchPostgres(): Promise<BenchPostgres> {
  await removeAbandoned()
  const directory = await mkdtemp(join(tmpdir(), directoryPrefix))
  const remove = (): Promise<void> => rm(directory, { recursive: true, force: true, maxRetries: 5 })
  try {
    const server = await startEmbeddedPostgres({ directory, durable: true, maxConnections: 600 })
    const version = await query(server.url, async (client) => {
      for (const [name, value] of Object.entries(settings)) {
        await client.query(`alter system set ${name} = '${value}'`)
      }
      await client.query('select pg_reload_conf()')
      const { rows } = await client.query<{ version: string }>(
        `select current_setting('server_version') as version`,
      )
      return rows[0]?.version ?? ''
    })
    return {
      url: server.url,
      version,
      async createDatabase(sql) {
        const name = `bench_${randomBytes(6).toString('hex')}`
        await server.createDatabase(name)
        const url = databaseUrl(server.url, name)
        if (sql !== undefined) await query(url, (client) => client.query(sql))
        return url
      },
      tidy: (url) => query(url, async (client) => void (await client.query('vacuum analyze'))),
      cpuUs: (url) => cpuOf(server.pid, new URL(url).pathname.slice(1)),
      async close() {
        await server.stop('immediate')
        await remove()
      },
    }
  } catch (error) {
    await remove()
    throw error
  }
}

/** Removes directories of runs that were killed. */
async function removeAbandoned(): Promise<void> {
  for (const name of await readdir(tmpdir())) {
    const directory = join(tmpdir(), name)
    if (!name.startsWith(directoryPrefix) || !(await endAbandonedPostgres(directory))) continue
    await rm(directory, { recursive: true, force: true, maxRetries: 5 })
  }
}

/** Runs the work on a connection of its own. */
export async function query<T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    return await work(client)
  } finally {
    await client.end()
  }
}

/**
 * Adds up the processor time of a database's processes. Processes that have ended meanwhile are left out: with
 * `autovacuum` off, none begins or ends in a turn.
 */
async function cpuOf(postmaster: number, database: string): Promise<number> {
  try {
    let us = 0
    for (const entry of await readdir('/proc')) {
      if (!/^\d+$/.test(entry)) continue
      const stat = await readFile(`/proc/${entry}/stat`, 'utf8').catch(() => '')
      const [, parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
      if (Number(entry) !== postmaster && Number(parent) !== postmaster) continue
      if (await servesAnother(entry, database)) continue
      us += (await processCpuUs(entry)) ?? 0
    }
    return us
  } catch {
    return Number.NaN
  }
}

/** A session has the name of its database in its title. */
async function servesAnother(pid: string, database: string): Promise<boolean> {
  const title = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')
  const [, session] = / (bench_[0-9a-f]{12}) /.exec(title) ?? []
  return session !== undefined && session !== database
}

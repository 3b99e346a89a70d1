// Postgres servers of one history: a primary, copies of it as a base backup makes them, and standbys that follow it.
import { execFile } from 'node:child_process'
import { appendFile, chown, mkdir, mkdtemp, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import pg from 'pg'
import { startEmbeddedPostgres, type EmbeddedPostgres } from '../../tools/embedded-postgres/index.ts'
import { createFaultProxy, type FaultProxy } from '../faults/proxy.ts'
import { startOwnPostgres } from '../support/postgres.ts'

const run = promisify(execFile)

/** A data directory with the state of its origin at some moment. */
export interface Backup {
  start(): Promise<EmbeddedPostgres>
}

export interface Servers {
  readonly primary: EmbeddedPostgres
  /** Takes a base backup of the primary, to be started as a server that nobody follows. */
  backUp(): Promise<Backup>
  /** Starts a server that follows the primary, as far as `replication` lets it. */
  startStandby(): Promise<EmbeddedPostgres>
  /** Proxy between the primary and its standbys. */
  readonly replication: FaultProxy
  close(): Promise<void>
}

export async function startServers(): Promise<Servers> {
  const { server: primary, close: closePrimary } = await startOwnPostgres({ durable: false })
  const replication = await createFaultProxy({ target: () => primary.port })
  const started: EmbeddedPostgres[] = []
  const folders: string[] = []

  const copy = async (prepare: (data: string) => Promise<void>): Promise<Backup> => {
    const root = await mkdtemp(join(tmpdir(), 'lockstep-test-postgres-copy-'))
    folders.push(root)
    await copyPrimary(primary, root)
    await prepare(join(root, 'data'))
    return {
      async start() {
        const server = await startEmbeddedPostgres({ directory: root, durable: false })
        started.push(server)
        return server
      },
    }
  }
  return {
    primary,
    replication,
    backUp: () => copy(async () => {}),
    async startStandby() {
      const { password, username } = new URL(primary.url)
      const conninfo = `host=127.0.0.1 port=${replication.port} user=${username} password=${password}`
      const backup = await copy(async (data) => {
        await appendFile(
          join(data, 'postgresql.auto.conf'),
          `primary_conninfo = '${conninfo}'\nwal_retrieve_retry_interval = '100ms'\n`,
        )
        await writeOwned(data, 'standby.signal', '')
      })
      return backup.start()
    },
    async close() {
      await Promise.all(started.map((server) => server.stop('immediate').catch(() => {})))
      await replication.close()
      await closePrimary()
      await Promise.all(folders.map((folder) => rm(folder, { recursive: true, force: true })))
    },
  }
}

/** Copies as pg_basebackup does: all files, between the start and the stop of a backup, then the log that they need. */
async function copyPrimary(primary: EmbeddedPostgres, root: string): Promise<void> {
  const client = new pg.Client({ connectionString: primary.url })
  await client.connect()
  try {
    const [from, to] = [join(primary.directory, 'data'), join(root, 'data')]
    await client.query(`select pg_backup_start('copy', true)`)
    await run('cp', ['-a', join(primary.directory, 'password'), join(root, 'password')])
    await mkdir(to)
    // Files of sessions come and go meanwhile; the log has all that is needed of them.
    await run('cp', ['-a', `${from}/.`, to]).catch(() => {})
    const { rows } = await client.query<{ labelfile: string }>(
      'select labelfile from pg_backup_stop(wait_for_archive => false)',
    )
    await run('cp', ['-a', `${join(from, 'pg_wal')}/.`, join(to, 'pg_wal')])
    await rm(join(to, 'postmaster.pid'), { force: true })
    await writeOwned(to, 'backup_label', rows[0]?.labelfile ?? '')
  } finally {
    await client.end()
  }
}

/** The server may run as another user than this process. */
async function writeOwned(data: string, name: string, text: string): Promise<void> {
  const { uid, gid } = await stat(join(data, 'PG_VERSION'))
  await writeFile(join(data, name), text)
  await chown(join(data, name), uid, gid)
}

// Two nodes that hear of each other through the log alone, on a database with settings of its own.
import pg from 'pg'
import { z } from 'zod'
import { createLockstep, fromPool, type LockstepOptions } from '../../src/index.ts'
import { createTestDatabase } from './database.ts'
import { serve } from './sockets.ts'
import { createTestLogger, declareRoom, room, secret } from './world.ts'

/** Settings and rights of the surroundings that differ from those that Lockstep was written for. */
export interface Surroundings {
  /** Settings of the database, as by `alter database … set`. */
  readonly database?: Readonly<Record<string, string>>
  /** Statements by which each operation begins. */
  readonly operation?: readonly string[]
  /** Statements of a superuser, before any node starts. */
  readonly before?: string
  readonly pool?: Partial<pg.PoolConfig>
  /** Called for each connection of the pool, as an application's own `connect` handler is. */
  readonly onConnect?: (client: pg.PoolClient) => void
  /** An existing database, which the caller owns. */
  readonly databaseUrl?: string
  readonly node?: Partial<LockstepOptions<never>>
  /** Address that nodes connect to instead of the database itself, such as that of a pooler. */
  readonly through?: (url: string) => string
}

/** Opens a connection that the settings under test do not reach. */
export async function openAdmin(url: string): Promise<pg.Client> {
  const options =
    '-c search_path=public -c default_transaction_read_only=off -c statement_timeout=0 -c idle_session_timeout=0 -c row_security=on'
  const admin = new pg.Client({ connectionString: url, options })
  admin.on('error', () => {})
  await admin.connect()
  return admin
}

export async function createSettingsWorld(surroundings: Surroundings = {}) {
  const test = surroundings.databaseUrl === undefined ? await createTestDatabase() : undefined
  const url = surroundings.databaseUrl ?? test?.url ?? ''
  const admin = await openAdmin(url)
  await admin.query('create table public.notes (id text primary key, body text not null)')
  if (surroundings.before !== undefined) await admin.query(surroundings.before)
  const name = new URL(url).pathname.slice(1)
  for (const [setting, value] of Object.entries(surroundings.database ?? {})) {
    await admin.query(`alter database "${name}" set ${setting} = ${value}`)
  }
  const nodes: SettingsNode[] = []
  const closing: (() => Promise<void>)[] = []

  const startNode = async (nodeUrl = surroundings.through?.(url) ?? url): Promise<SettingsNode> => {
    const pool = new pg.Pool({ connectionString: nodeUrl, max: 4, ...surroundings.pool })
    pool.on('error', () => {})
    if (surroundings.onConnect !== undefined) pool.on('connect', surroundings.onConnect)
    const node = await createNode(pool, surroundings)
    nodes.push(node)
    closing.push(async () => {
      await node.lockstep.close({ drainMs: 200 })
      await pool.end()
      await node.served.close()
    })
    return node
  }

  return {
    admin,
    url,
    startNode,
    async close(): Promise<void> {
      for (const close of closing) await close()
      await admin.end()
      await test?.drop()
    },
  }
}

async function createNode(pool: pg.Pool, surroundings: Surroundings) {
  const logger = createTestLogger()
  const lockstep = createLockstep({
    database: fromPool(pool, { acquireTimeoutMs: 10_000 }),
    auth: { secret },
    logger,
    bus: false,
    headCheckMs: 50,
    monitor: { rollupMs: 200 },
    rollout: { operations: { add_early: 'observe' } },
    ...(surroundings.node as object),
  })
  declareRoom(lockstep)
  const input = z.object({ id: z.string(), text: z.string(), fail: z.boolean().optional() })
  const begin = async (db: { query(text: string): Promise<unknown> }): Promise<void> => {
    for (const text of surroundings.operation ?? []) await db.query(text)
  }
  lockstep.operation('add_note', {
    input,
    rollback: { userMessage: 'Your note was not saved – sorry.', recoveryActions: ['retry'] },
    async run({ input: note, tx }) {
      await begin(tx.db)
      await tx.db.query('insert into public.notes (id, body) values ($1, $2)', [note.id, note.id])
      tx.emit(room({ id: '1' }), 'note.added', { id: note.id, text: note.text })
      if (note.fail === true) throw new Error('after the insert')
      return { text: note.text }
    },
  })
  lockstep.operation('add_two', {
    input,
    async run({ input: note, tx }) {
      await begin(tx.db)
      tx.emit(room({ id: '1' }), 'note.added', { id: note.id, text: note.text })
      tx.emit(room({ id: '2' }), 'note.added', { id: note.id, text: note.text })
    },
  })
  lockstep.operation('add_early', {
    input,
    async run({ input: note, tx }) {
      tx.emit(room({ id: '1' }), 'note.added', { id: note.id, text: note.text })
      await tx.db.query('select pg_catalog.pg_sleep(0.3)')
    },
  })
  lockstep.query('notes', {
    input: z.object({}),
    async run({ db, position }) {
      // A query can create nothing, so only the settings are made.
      for (const text of surroundings.operation ?? []) if (text.startsWith('set')) await db.query(text)
      const { rows } = await db.query('select id from public.notes')
      return { count: rows.length, at: await position(room({ id: '1' })) }
    },
  })
  await lockstep.start()
  const served = await serve({ lockstep })
  return { lockstep, logger, served, pool }
}

export type SettingsNode = Awaited<ReturnType<typeof createNode>>

import pg from 'pg'
import { z } from 'zod'
import {
  createLockstep,
  defineChannel,
  fromPool,
  type Logger,
  type LockstepOptions,
} from '../../src/index.ts'
import { createTestDatabase } from './database.ts'

export const secret = 'a secret for tests, at least 32 bytes long'

export const room = defineChannel('room:{id}', {
  events: {
    'note.added': z.object({ id: z.string(), text: z.string() }),
    counted: z.object({ n: z.number() }),
  },
  canSubscribe: ({ params, user }) => params.id !== 'private' || user.id === 'owner',
})

export interface LogLine {
  readonly level: string
  readonly message: string
  readonly fields: Readonly<Record<string, unknown>>
}

/** Keeps what was logged, for tests that assert on it. */
export function createTestLogger(): Logger & { readonly lines: LogLine[] } {
  const lines: LogLine[] = []
  const at = (level: string) => (fields: Readonly<Record<string, unknown>>, message: string) => {
    lines.push({ level, message, fields })
  }
  return { lines, debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') }
}

export interface WorldOptions extends Partial<LockstepOptions<never>> {
  readonly poolSize?: number
  readonly acquireTimeoutMs?: number
  readonly pipeline?: boolean
  /** Where Lockstep connects instead of the database itself, such as a fault proxy. */
  readonly through?: (url: string) => string
  /** Serve this database, which the caller owns, instead of a new one. */
  readonly databaseUrl?: string
}

/** One node on a database of its own, with a table `notes` and a channel family `room:{id}`. */
export async function createWorld(options: WorldOptions = {}) {
  const { poolSize = 8, acquireTimeoutMs = 10_000, pipeline = true, through, databaseUrl, ...rest } = options
  const test = databaseUrl === undefined ? await createTestDatabase() : undefined
  const url = databaseUrl ?? test?.url ?? ''
  const logger = createTestLogger()
  const pool = new pg.Pool({ connectionString: through?.(url) ?? url, max: poolSize, pipeline })
  const direct = new pg.Pool({ connectionString: url, max: 4 })
  direct.on('error', () => {})
  await direct.query('create table if not exists notes (id text primary key, text text not null)')
  const database = fromPool(pool, { acquireTimeoutMs })
  const lockstep = createLockstep({
    database,
    channels: [room],
    auth: { secret },
    logger,
    ...(rest as object),
  })
  const addNote = lockstep.operation('add_note', {
    input: z.object({
      room: z.string(),
      id: z.string(),
      text: z.string().max(1_000),
      fail: z.boolean().optional(),
    }),
    rollback: { userMessage: 'Your note was not saved.', recoveryActions: ['retry'] },
    async run({ input, tx }) {
      await tx.db.query('insert into notes values ($1, $2)', [input.id, input.text])
      tx.emit(room({ id: input.room }), 'note.added', { id: input.id, text: input.text })
      if (input.fail === true) throw new Error('secret detail: table notes, host 10.0.0.1')
      return { id: input.id }
    },
  })
  await lockstep.start()
  return {
    lockstep,
    addNote,
    logger,
    pool,
    url,
    /** Queries past Lockstep and past any proxy. */
    direct,
    async rows<Row = Record<string, unknown>>(text: string, values: readonly unknown[] = []): Promise<Row[]> {
      return (await direct.query(text, [...values])).rows as Row[]
    },
    eventsOf(channel: string) {
      return this.rows<{ offset: string; type: string; operation_id: string; data: unknown }>(
        'select "offset", type, operation_id, data from lockstep.events where channel = $1 order by "offset"',
        [channel],
      )
    },
    async close(): Promise<void> {
      await lockstep.close({ drainMs: 200 })
      await pool.end()
      await direct.end()
      await test?.drop()
    },
  }
}

export type World = Awaited<ReturnType<typeof createWorld>>

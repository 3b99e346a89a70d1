import pg from 'pg'
import { z } from 'zod'
import { defineChannel } from '../../src/core/index.ts'
import {
  fromPool,
  type Lockstep,
  type Logger,
  type LockstepOptions,
  type PgDatabase,
} from '../../src/index.ts'
import { createLockstepWith } from '../../src/lockstep.ts'
import type { CreateLog } from '../../src/log/index.ts'
import type { Part } from '../../src/transaction/index.ts'
import { createTestDatabase } from './database.ts'

export const secret = 'a secret for tests, at least 32 bytes long'

const roomEvents = {
  'note.added': z.object({ id: z.string(), text: z.string() }),
  counted: z.object({ n: z.number() }),
}

/** Declares `room:{id}`, which its owner alone may hear where the id is `private`. */
export const declareRoom = <Db>(lockstep: Lockstep<Db>) =>
  lockstep.channel('room:{id}', {
    events: roomEvents,
    canSubscribe: ({ params, user }) => params.id !== 'private' || user.id === 'owner',
  })

/** Names the channels of `declareRoom`, which are the same on each node. */
export const room = defineChannel<'room:{id}', typeof roomEvents, false>('room:{id}', {
  events: roomEvents,
  canSubscribe: () => false,
})

export interface LogLine {
  readonly level: string
  readonly message: string
  readonly fields: Readonly<Record<string, unknown>>
}

/** Logger that keeps its lines, for tests that assert on them. */
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
  /** Address that Lockstep connects to instead of the database itself, such as that of a fault proxy. */
  readonly through?: (url: string) => string
  /** Parts that stand or fall with each operation, beside its events. */
  readonly parts?: readonly Part<unknown>[]
  /** Makes the log of the node. Default: the product's own. */
  readonly createLog?: CreateLog
  /** Declares what has to be declared before the node starts, beside `room:{id}`. */
  readonly declare?: (lockstep: Lockstep<PgDatabase>) => void
  /** Serve this database, which the caller owns, instead of a new one. */
  readonly databaseUrl?: string
}

/** Starts a node on a database of its own, with a table `notes` and a channel family `room:{id}`. */
export async function createWorld(options: WorldOptions = {}) {
  const {
    poolSize = 8,
    acquireTimeoutMs = 10_000,
    pipeline = true,
    through,
    databaseUrl,
    ...others
  } = options
  const { parts = [], createLog, declare, ...rest } = others
  const test = databaseUrl === undefined ? await createTestDatabase() : undefined
  const url = databaseUrl ?? test?.url ?? ''
  const logger = createTestLogger()
  const pool = new pg.Pool({ connectionString: through?.(url) ?? url, max: poolSize, pipeline })
  const direct = new pg.Pool({ connectionString: url, max: 4 })
  direct.on('error', () => {})
  await direct.query('create table if not exists notes (id text primary key, text text not null)')
  const database = fromPool(pool, { acquireTimeoutMs })
  const settings = { database, auth: { secret }, logger, ...(rest as object) }
  const lockstep: Lockstep<PgDatabase> = createLockstepWith(settings, parts, createLog)
  declareRoom(lockstep)
  declare?.(lockstep)
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

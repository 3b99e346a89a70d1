// Settlements against a real database, without a node: keys, notices, settlers, and flushes that are left open.
import { randomUUID } from 'node:crypto'
import pg from 'pg'
import { systemClock, type Queryable, type Statement } from '../../src/core/index.ts'
import { newOperationId, silentLogger } from '../../src/index.ts'
import { CountingAppender, type StoredEvent } from '../../src/log/index.ts'
import { flushOperation, fromPool, type OperationKey, type PendingEvent } from '../../src/postgres/index.ts'
import { Settler } from '../../src/transaction/index.ts'
import { createNotice } from '../../src/transaction/settle/notice.ts'
import { createTestDatabase } from './database.ts'

export const schema = '"lockstep"'

export const keyOf = (userId: string, id: string = newOperationId()): OperationKey => ({
  id,
  name: 'add_note',
  userId,
  node: randomUUID(),
  inputHash: 'x',
})

export const noticeFor = ({ id, name }: OperationKey) =>
  createNotice({
    operationId: id,
    operationName: name,
    rollback: {},
    code: 'LS_OPERATION_FAILED',
    affectedLayers: ['database'],
  })

export type SettlementsWorld = Awaited<ReturnType<typeof createSettlementsWorld>>

export async function createSettlementsWorld() {
  const test = await createTestDatabase()
  const pool = new pg.Pool({ connectionString: test.url, max: 12 })
  // Settlements of a test may wait for each other longer than an application would wait for a connection.
  const database = fromPool(pool, { acquireTimeoutMs: 60_000 })

  /** Creates a settler over real own connections, with its statements counted and its deliveries kept. */
  function createSettler(options: { commitWaitMs?: number; onSend?: (underWay: number) => void } = {}) {
    const delivered: StoredEvent[] = []
    const counts = { sent: 0, underWay: 0, most: 0 }
    const own: Queryable = {
      async query<Row>(statement: Statement) {
        counts.sent += 1
        counts.underWay += 1
        counts.most = Math.max(counts.most, counts.underWay)
        options.onSend?.(counts.underWay)
        try {
          return await database.own.query<Row>(statement)
        } finally {
          counts.underWay -= 1
        }
      },
    }
    const settler = new Settler({
      own,
      schema,
      log: new CountingAppender(own, schema),
      clock: systemClock,
      logger: silentLogger,
      deliver: (events) => void delivered.push(...events),
      ...(options.commitWaitMs === undefined ? {} : { commitWaitMs: options.commitWaitMs }),
    })
    return { settler, counts, delivered }
  }

  /** Flushes, and leaves the transaction open until `end`. */
  async function openFlush(key: OperationKey, events: readonly PendingEvent[], inSchema = schema) {
    const client = await pool.connect()
    await client.query(`begin; set local lockstep.operation = '${key.id}'`)
    const end = async (how: 'commit' | 'rollback'): Promise<void> => {
      await client.query(how)
      client.release()
    }
    try {
      const { text, values = [] } = flushOperation(inSchema, key, '"saved"', events)
      await client.query(text, [...values])
    } catch (error) {
      await end('rollback')
      throw error
    }
    return { end }
  }

  async function close(): Promise<void> {
    await database.close()
    await pool.end()
    await test.drop()
  }

  return { url: test.url, pool, database, createSettler, openFlush, close }
}

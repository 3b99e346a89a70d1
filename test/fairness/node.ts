// One node of the lane, in a process of its own: a pool of ten, and operations that are quick, slow, or fail.
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import pg from 'pg'
import { z } from 'zod'
import { createLockstep, defineChannel, fromPool, silentLogger } from '../../src/index.ts'
import type { NodeAnswer } from './node-process.ts'

const pool = new pg.Pool({ connectionString: process.env['FAIRNESS_DATABASE_URL'], max: 10, pipeline: true })
const secret = process.env['FAIRNESS_SECRET'] ?? ''

const room = defineChannel('room:{id}', {
  events: { sent: z.object({ n: z.number() }) },
  canSubscribe: async ({ db }) => (await db.query('select 1')).rows.length === 1,
})
const lockstep = createLockstep({
  database: fromPool(pool),
  channels: [room],
  auth: { secret },
  logger: silentLogger,
})
lockstep.operation('send', {
  input: z.object({ room: z.string(), n: z.number() }),
  async run({ input, user, tx }) {
    await tx.db.query('insert into sends (usr, room, n) values ($1, $2, $3)', [user.id, input.room, input.n])
    tx.emit(room({ id: input.room }), 'sent', { n: input.n })
  },
})
lockstep.operation('slow', {
  input: z.object({ holdMs: z.number() }),
  async run({ input, tx, signal }) {
    await tx.db.query('select 1')
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, input.holdMs)
      signal.addEventListener('abort', () => {
        clearTimeout(timer)
        resolve()
      })
    })
  },
})
lockstep.operation('fail', {
  input: z.object({}),
  rollback: { userMessage: 'Nothing was saved.' },
  async run({ user, tx }) {
    await tx.db.query('insert into sends (usr, room, n) values ($1, $2, $3)', [user.id, 'none', 0])
    throw new Error('as it was asked to')
  },
})
lockstep.query('big', { input: z.object({}), run: async () => 'x'.repeat(200_000) })

await lockstep.start()
const server = createServer(lockstep.nodeHandler())
lockstep.attach(server)
await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
const answer = (value: NodeAnswer): void => void process.send?.(value)
answer({ port: (server.address() as AddressInfo).port })

const tell = async (): Promise<void> => {
  const { node, lease, openOperations } = await lockstep.health.report()
  const { rss } = process.memoryUsage()
  answer({ node, lease, openOperations, rss, refused: lockstep.admission.refused })
}
process.on('message', () => void tell())

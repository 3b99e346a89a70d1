// A node of the fairness lane, in a process of its own: a pool of ten, and operations that are quick, slow, or fail.
import { writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { Session } from 'node:inspector/promises'
import type { AddressInfo } from 'node:net'
import pg from 'pg'
import { z } from 'zod'
import { createLockstep, fromPool, silentLogger } from '../../src/index.ts'
import { endWithParent } from './end-with-parent.ts'
import type { NodeAnswer, NodeQuestion } from './node-process.ts'
import { NodeTrace } from './node-trace.ts'
import { LoopLag } from './usage.ts'

endWithParent()
const pool = new pg.Pool({
  connectionString: process.env['FAIRNESS_DATABASE_URL'],
  max: Number(process.env['FAIRNESS_POOL'] ?? 10),
  pipeline: true,
})
const secret = process.env['FAIRNESS_SECRET'] ?? ''
const trace = process.env['FAIRNESS_TRACE'] === undefined ? undefined : new NodeTrace()

const lockstep = createLockstep({
  database: fromPool(pool),
  auth: { secret },
  logger: silentLogger,
})
const room = lockstep.channel('room:{id}', {
  events: { sent: z.object({ n: z.number() }) },
  canSubscribe: async ({ db }) => (await db.query('select 1')).rows.length === 1,
})
lockstep.operation('send', {
  input: z.object({ room: z.string(), n: z.number() }),
  async run({ input, user, tx }) {
    const hasRun = trace?.runs(user.id, input.n)
    await tx.db.query('insert into sends (usr, room, n) values ($1, $2, $3)', [user.id, input.room, input.n])
    hasRun?.()
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
lockstep.query('big', { input: z.object({}), run: async () => 'x'.repeat(450_000) })

await lockstep.start()
const server = createServer(lockstep.handler())
lockstep.attach(server)
await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
const answer = (value: NodeAnswer): void => void process.send?.(value)
answer({ port: (server.address() as AddressInfo).port })

const lag = new LoopLag()
const tell = async (): Promise<void> => {
  const { node, lease, openOperations } = await lockstep.health.report()
  const { rss } = process.memoryUsage()
  const { refused, waiting } = lockstep.admission
  answer({ node, lease, openOperations, rss, refused, waiting, loopLagMs: lag.lap() })
}

let profiling: Session | undefined
const profile = async (): Promise<void> => {
  if (profiling === undefined) {
    profiling = new Session()
    profiling.connect()
    await profiling.post('Profiler.enable')
    await profiling.post('Profiler.start')
  } else {
    const { profile: written } = await profiling.post('Profiler.stop')
    writeFileSync(
      `${process.env['FAIRNESS_PROFILES']}/node-${process.pid}.cpuprofile`,
      JSON.stringify(written),
    )
    profiling = undefined
  }
  answer({ profiled: true })
}
const questions: Readonly<Record<NodeQuestion, () => unknown>> = {
  state: tell,
  profile,
  trace: () => {
    if (trace !== undefined) answer(trace.lap())
  },
}
process.on('message', (question: NodeQuestion) => void questions[question]())

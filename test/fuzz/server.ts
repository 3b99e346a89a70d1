// The process under attack: Lockstep on Postgres behind an HTTP server. It watches its own event loop and tells whoever started it.
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import pg from 'pg'
import { z } from 'zod'
import { createLockstep, fromPool, silentLogger } from '../../src/index.ts'

export interface ServerConfig {
  readonly databaseUrl: string
  readonly secret: string
}

export interface Vitals {
  readonly heapBytes: number
  readonly rssBytes: number
  readonly connections: number
  /** Longest delay of the loop since the last question, whatever its cause. */
  readonly maxDelayMs: number
  /** Longest of those in which this process itself was at work for most of the time: the rest is a busy machine. */
  readonly maxOwnDelayMs: number
}

const config = JSON.parse(process.env['FUZZ_SERVER'] ?? '') as ServerConfig
const pool = new pg.Pool({ connectionString: config.databaseUrl, max: 8, pipeline: true })
const lockstep = createLockstep({
  database: fromPool(pool),
  auth: { secret: config.secret },
  logger: silentLogger,
})
const room = lockstep.channel('room:{id}', {
  events: { noted: z.object({ text: z.string() }) },
  canSubscribe: ({ params }) => params.id !== 'secret',
})
lockstep.operation('note', {
  input: z.object({ room: z.string(), text: z.string() }),
  async run({ input, tx }) {
    tx.emit(room({ id: input.room }), 'noted', { text: input.text })
    return { echoed: input.text }
  },
})
lockstep.query('echo', { input: z.unknown(), run: async ({ input }) => ({ input }) })
await lockstep.start()
const server = createServer(lockstep.handler())
lockstep.attach(server)
server.listen(0, '127.0.0.1', () => process.send?.({ ready: (server.address() as AddressInfo).port }))

const everyMs = 10
const delays = monitorEventLoopDelay({ resolution: everyMs })
delays.enable()
let maxOwnDelayMs = 0
let [at, cpu] = [performance.now(), process.cpuUsage()]
setInterval(() => {
  const [now, used] = [performance.now(), process.cpuUsage(cpu)]
  const delayMs = now - at - everyMs
  const busyMs = (used.user + used.system) / 1_000
  if (busyMs > delayMs * 0.6) maxOwnDelayMs = Math.max(maxOwnDelayMs, delayMs)
  ;[at, cpu] = [now, process.cpuUsage()]
}, everyMs)

process.on('message', (message) => void answer(message))
process.on('disconnect', () => process.exit(0))

async function answer(question: unknown): Promise<void> {
  const { connections } = await lockstep.health.report()
  const vitals = { maxDelayMs: delays.max / 1e6, maxOwnDelayMs, connections }
  // Measuring is not part of what is measured.
  if (question === 'collect') for (let round = 0; round < 3; round += 1) globalThis.gc?.()
  const { heapUsed, external, rss } = process.memoryUsage()
  delays.reset()
  maxOwnDelayMs = 0
  ;[at, cpu] = [performance.now(), process.cpuUsage()]
  process.send?.({ vitals: { ...vitals, heapBytes: heapUsed + external, rssBytes: rss } satisfies Vitals })
}

// A node of Lockstep that counts its reads of the log by channel.
import { createServer } from 'node:http'
import type { Socket } from 'node:net'
import pg from 'pg'
import { z } from 'zod'
import { createLockstep, fromPool, silentLogger, type Database } from '../../src/index.ts'
import { answerBench, childConfig, listenLocally } from '../harness/child-host.ts'
import { memoryOf } from '../harness/memory.ts'

export interface ServerConfig {
  readonly databaseUrl: string
  readonly secret: string
  readonly rooms: number
  readonly eventsPerRoom: number
}

export interface Reads {
  /** Largest number of reads of the log for any one channel. */
  readonly mostOfOneChannel: number
  readonly log: number
  readonly heads: number
}

const config = childConfig() as ServerConfig
const pool = new pg.Pool({ connectionString: config.databaseUrl, max: 8, pipeline: true })
const database = fromPool(pool)
const reads = new Map<string, number>()
let heads = 0
const counting: Database<(typeof database)['db']> = {
  ...database,
  own: {
    query: (statement) => {
      const [channel] = statement.values ?? []
      if (/^select "offset".*\.events/s.test(statement.text))
        reads.set(String(channel), (reads.get(String(channel)) ?? 0) + 1)
      if (statement.text.startsWith('select m.epoch')) heads += 1
      return database.own.query(statement)
    },
  },
}
const lockstep = createLockstep({
  database: counting,
  auth: { secret: config.secret },
  logger: silentLogger,
})
const room = lockstep.channel('room:{id}', {
  events: { noted: z.object({ n: z.number() }) },
  canSubscribe: () => true,
})
await lockstep.start()
const server = createServer(lockstep.handler())
lockstep.attach(server)
const sockets = new Set<Socket>()

const port = await listenLocally(server)
answerBench({
  port: () => port,
  memory: () => memoryOf(server),
  /** Remembers sockets from here on, so that they can be cut. Before, the list would count as memory. */
  remember: () => void server.on('connection', (socket) => sockets.add(socket)),
  cut: () => {
    for (const socket of sockets) socket.resetAndDestroy()
    sockets.clear()
  },
  emit: async () => {
    for (let id = 0; id < config.rooms; id += 1) {
      await lockstep.transaction({ name: 'fill', user: 'bench' }, async (tx) => {
        for (let n = 0; n < config.eventsPerRoom; n += 1) tx.emit(room({ id: String(id) }), 'noted', { n })
      })
    }
    reads.clear()
    heads = 0
  },
  reads: (): Reads => ({
    mostOfOneChannel: Math.max(0, ...reads.values()),
    log: [...reads.values()].reduce((sum, count) => sum + count, 0),
    heads,
  }),
  /** Processor time of one second in which nothing happens. */
  idleCpuMs: async () => {
    const before = process.cpuUsage()
    await new Promise((resolve) => setTimeout(resolve, 3_000))
    const { user, system } = process.cpuUsage(before)
    return (user + system) / 3_000
  },
})

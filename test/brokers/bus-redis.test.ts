import { Redis } from 'ioredis'
import { createClient } from 'redis'
import { redisBus, type BusOptions } from '../../src/bus/index.ts'
import { describeBus, type BusFixture } from '../conformance/bus-conformance.ts'
import { missing, startRedis } from '../support/brokers.ts'

/** @param connect a client of its own, and how to end it */
async function fixture(
  connect: (
    port: number,
    options: BusOptions,
  ) => Promise<{ bus: ReturnType<typeof redisBus>; end: () => void }>,
): Promise<BusFixture> {
  const redis = await startRedis()
  const ends: (() => void)[] = []
  return {
    async createBus(options) {
      const { bus, end } = await connect(redis.port, options)
      ends.push(end)
      return bus
    },
    outage: { begin: () => redis.kill(), end: () => redis.start() },
    stall: { begin: () => redis.stall(), end: () => redis.resume() },
    async close() {
      for (const end of ends) end()
      await redis.close()
    },
  }
}

const why = missing('redis-server')

describeBus(
  'redis, by node-redis',
  () =>
    fixture(async (port, options) => {
      const publisher = createClient({
        socket: { host: '127.0.0.1', port, reconnectStrategy: (retries) => Math.min(retries * 50, 500) },
      })
      const subscriber = publisher.duplicate()
      // The bus listens for errors, but only once it has them.
      for (const client of [publisher, subscriber]) client.on('error', () => {})
      await Promise.all([publisher.connect(), subscriber.connect()])
      const bus = redisBus({ publisher, subscriber, ...options })
      return { bus, end: () => [publisher, subscriber].forEach((client) => client.destroy()) }
    }),
  why,
)
describeBus(
  'redis, by ioredis',
  () =>
    fixture(async (port, options) => {
      const publisher = new Redis(port, '127.0.0.1', { retryStrategy: (times) => Math.min(times * 50, 500) })
      const subscriber = publisher.duplicate()
      for (const client of [publisher, subscriber]) client.on('error', () => {})
      const bus = redisBus({ publisher, subscriber, ...options })
      return { bus, end: () => [publisher, subscriber].forEach((client) => client.disconnect()) }
    }),
  why,
)

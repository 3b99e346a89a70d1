// A bus over Redis that is closed while the broker is away leaves nothing in the application's clients.
import { Redis } from 'ioredis'
import { createClient } from 'redis'
import { describe, expect, test } from 'vitest'
import { redisBus, type IoRedisClient, type NodeRedisClient } from '../../src/bus/index.ts'
import { silentLogger, systemClock } from '../../src/core/index.ts'
import { missing, startRedis } from '../support/brokers.ts'
import { eventually } from '../support/eventually.ts'

const why = missing('redis-server')

type Client = (NodeRedisClient | IoRedisClient) & {
  subscribe(channel: string, listener: () => void): Promise<unknown>
}

const clients: readonly [string, (port: number) => Promise<{ client: Client; end: () => void }>][] = [
  [
    'node-redis',
    async (port) => {
      const client = createClient({ socket: { host: '127.0.0.1', port, reconnectStrategy: () => 50 } })
      client.on('error', () => {})
      await client.connect()
      return { client, end: () => client.destroy() }
    },
  ],
  [
    'ioredis',
    async (port) => {
      const client = new Redis(port, '127.0.0.1', { retryStrategy: () => 50, maxRetriesPerRequest: null })
      client.on('error', () => {})
      return { client: client as unknown as Client, end: () => client.disconnect() }
    },
  ],
]

describe.skipIf(why !== undefined)('closed while the broker is away', () => {
  test.each(clients)('%s has no subscription of it when it is back', async (_, connect) => {
    const redis = await startRedis()
    const [publisher, subscriber] = [await connect(redis.port), await connect(redis.port)]
    const bus = redisBus({ publisher: publisher.client, subscriber: subscriber.client })
    await bus.start({
      scope: 'test',
      clock: systemClock,
      logger: silentLogger,
      events: () => {},
      heads: () => {},
      transients: () => {},
      missed: () => {},
    })
    bus.serve('room:1')
    await eventually(() => expect(bus.health.state).toBe('up'), 10_000)
    await redis.kill()
    await eventually(() => expect(bus.health.state).toBe('down'), 10_000)
    await bus.close()
    const back = new Promise<void>((resolve) => subscriber.client.on('ready', () => resolve()))
    await redis.start()
    await back
    // Subscribe behind whatever the client takes up again by itself.
    await subscriber.client.subscribe('marker', () => {})
    const asking = new Redis(redis.port, '127.0.0.1')
    expect(await asking.pubsub('CHANNELS', '*')).toEqual(['marker'])
    asking.disconnect()
    for (const { end } of [publisher, subscriber]) end()
    await redis.close()
  })
})

// The bus of a node of the fault lanes, on the real clients, as an application would set them up. A client is loaded only
// by those who use it: nodes are started by the hundred, and each start is an outage.
import { memoryBus, natsBus, postgresBus, redisBus, type Bus } from '../../src/index.ts'

export type NodeBusConfig =
  | { readonly kind: 'memory' }
  | { readonly kind: 'postgres' }
  | { readonly kind: 'redis'; readonly port: number; readonly client: 'redis' | 'ioredis' }
  | { readonly kind: 'nats'; readonly port: number }

/** Time-outs shorter than by default: faults of the bus last seconds, and some are to be noticed and some not. */
const options = { selfTestMs: 2_000 }

export async function createNodeBus(
  config: NodeBusConfig,
  database: Parameters<typeof postgresBus>[0],
): Promise<Bus> {
  if (config.kind === 'memory') return memoryBus('nodes')
  if (config.kind === 'postgres') return postgresBus(database, options)
  if (config.kind === 'nats') return overNats(config.port)
  return config.client === 'redis' ? overNodeRedis(config.port) : overIoRedis(config.port)
}

async function overNats(port: number): Promise<Bus> {
  const { connect } = await import('nats')
  const servers = `127.0.0.1:${port}`
  return natsBus(await connect({ servers, maxReconnectAttempts: -1, waitOnFirstConnect: true }), options)
}

async function overNodeRedis(port: number): Promise<Bus> {
  const { createClient } = await import('redis')
  const publisher = createClient({ url: `redis://127.0.0.1:${port}` })
  const subscriber = publisher.duplicate()
  for (const client of [publisher, subscriber]) {
    client.on('error', () => {})
    // The client goes on trying by itself, and a node serves without it.
    client.connect().catch(() => {})
  }
  return redisBus({ publisher, subscriber, ...options })
}

async function overIoRedis(port: number): Promise<Bus> {
  const { Redis } = await import('ioredis')
  const publisher = new Redis(port, '127.0.0.1')
  const subscriber = publisher.duplicate()
  for (const client of [publisher, subscriber]) client.on('error', () => {})
  return redisBus({ publisher, subscriber, ...options })
}

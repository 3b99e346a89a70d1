// A broker that is away for ten seconds, and comes back empty: three nodes, readers on each of them, one that writes.
import { connect, type NatsConnection } from 'nats'
import { createClient } from 'redis'
import { expect, it } from 'vitest'
import { natsBus, redisBus, newOperationId, type Bus } from '../../src/index.ts'
import { missing, startNats, startRedis, type Broker } from '../support/brokers.ts'
import { centrifuge, connected, listen, serve } from '../support/sockets.ts'
import { createWorld } from '../support/world.ts'

interface Brokered {
  readonly broker: Broker
  createBus(): Promise<Bus>
  close(): Promise<void>
}

async function overRedis(): Promise<Brokered> {
  const broker = await startRedis()
  const clients: { destroy(): void }[] = []
  return {
    broker,
    async createBus() {
      // Clients as an application would have them: nothing is set for this test.
      const publisher = createClient({ url: `redis://127.0.0.1:${broker.port}` })
      const subscriber = publisher.duplicate()
      for (const client of [publisher, subscriber]) {
        client.on('error', () => {})
        await client.connect()
        clients.push(client)
      }
      return redisBus({ publisher, subscriber })
    },
    async close() {
      for (const client of clients) client.destroy()
      await broker.close()
    },
  }
}

async function overNats(): Promise<Brokered> {
  const broker = await startNats()
  const connections: NatsConnection[] = []
  return {
    broker,
    async createBus() {
      const connection = await connect({ servers: `127.0.0.1:${broker.port}`, maxReconnectAttempts: -1 })
      connections.push(connection)
      return natsBus(connection)
    },
    async close() {
      await Promise.all(connections.map((connection) => connection.close()))
      await broker.close()
    },
  }
}

const outageMs = 10_000
const pauseMs = 50

const kinds = [
  { name: 'redis', why: missing('redis-server'), open: overRedis },
  { name: 'nats', why: missing('nats-server'), open: overNats },
].map(({ why, name, open }) => ({
  name: why === undefined ? name : `${name}: skipped, since ${why}`,
  why,
  open,
}))

it.for(kinds)(
  'while the broker is dead events still flow, and all is there within 2 s of its return: $name',
  { timeout: 60_000 },
  async ({ why, open }, { skip }) => {
    if (why !== undefined) skip(why)
    const brokered = await open()
    const first = await createWorld({ bus: await brokered.createBus() })
    const databaseUrl = first.url
    const worlds = [
      first,
      await createWorld({ databaseUrl, bus: await brokered.createBus() }),
      await createWorld({ databaseUrl, bus: await brokered.createBus() }),
    ]
    const servers = await Promise.all(worlds.map((world) => serve(world)))
    const clients = await Promise.all(servers.map(({ url }) => connected(centrifuge(url, 'ada'))))
    const readers = await Promise.all(clients.map((client) => listen(client, 'room:a')))
    const state = async (): Promise<readonly unknown[]> =>
      Promise.all(worlds.map(async ({ lockstep }) => (await lockstep.health.report()).bus.state))
    expect(await state()).toEqual(['up', 'up', 'up'])

    const committedAt: number[] = []
    const over = new AbortController()
    const load = (async () => {
      while (!over.signal.aborted) {
        const input = { room: 'a', id: `note-${committedAt.length}`, text: 'hello' }
        await first.addNote.call(input, { id: newOperationId(), user: 'ada' })
        committedAt.push(performance.now())
        await new Promise((resolve) => setTimeout(resolve, pauseMs))
      }
    })()
    await Promise.all(readers.map(({ inbox }) => inbox.until((items) => items.length > 20)))

    await brokered.broker.kill()
    const outageCount = committedAt.length
    await new Promise((resolve) => setTimeout(resolve, outageMs))
    await expect.poll(state).toEqual(['down', 'down', 'down'])
    const heardMeanwhile = readers.map(({ inbox }) => inbox.items.length - outageCount)
    await brokered.broker.start()
    const returnedAt = performance.now()
    const due = committedAt.length
    await Promise.all(readers.map(({ inbox }) => inbox.until((items) => items.length >= due)))
    expect(performance.now() - returnedAt).toBeLessThan(2_000)
    // Slower, but within little more than the second between two comparisons.
    for (const heard of heardMeanwhile) expect(heard).toBeGreaterThan((due - outageCount) / 2)

    await expect.poll(state, { timeout: 10_000 }).toEqual(['up', 'up', 'up'])
    over.abort()
    await load
    const total = committedAt.length
    await Promise.all(readers.map(({ inbox }) => inbox.until((items) => items.length >= total)))
    const expected = Array.from({ length: total }, (_, n) => n + 1)
    for (const { inbox } of readers) expect(inbox.items.map(({ offset }) => offset)).toEqual(expected)

    for (const client of clients) client.disconnect()
    await Promise.all(servers.map((server) => server.close()))
    for (const world of worlds.toReversed()) await world.close()
    await brokered.close()
  },
)

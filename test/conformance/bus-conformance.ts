// The contract of every bus with the nodes that use it. Heads are compared only when the bus asks for it, unless a test
// says otherwise: an event that arrives in time has arrived by the bus.
import pg from 'pg'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Bus, BusOptions } from '../../src/bus/index.ts'
import { shardOf } from '../../src/bus/shards.ts'
import { FeedEvent } from '../../src/feeds/index.ts'
import type { StoredEvent } from '../../src/log/index.ts'
import { fromPool } from '../../src/postgres/index.ts'
import { createTestDatabase, type TestDatabase } from '../support/database.ts'
import { Node, StrictReader, unreliable, type NodeOptions } from './bus-node.ts'
import { publicationOf, transientPushOf } from '../../src/gateway/wire/publications.ts'

export interface BusFixture {
  /** Creates a bus for one more node on the same broker. */
  createBus(options: BusOptions): Promise<Bus>
  /** Absent where there is no broker that could fail. */
  readonly outage?: { begin(): Promise<void>; end(): Promise<void> }
  /** The broker stays connected and does nothing. Absent where that is the database itself. */
  readonly stall?: { begin(): void; end(): void }
  close(): Promise<void>
}

const operationId = '0197a6b0-0000-7000-8000-000000000002'

/** @param missing why it cannot be tested here */
export function describeBus(
  name: string,
  open: (databaseUrl: string) => Promise<BusFixture>,
  missing?: string,
): void {
  const reason = missing === undefined ? '' : `: skipped, since ${missing}`
  describe.skipIf(missing !== undefined)(`bus over ${name}${reason}`, () => {
    let test: TestDatabase
    let pool: pg.Pool
    let database: ReturnType<typeof fromPool>
    let fixture: BusFixture
    const nodes: Node[] = []
    let number = 0
    let channel: string

    beforeAll(async () => {
      test = await createTestDatabase()
      pool = new pg.Pool({ connectionString: test.url, max: 4 })
      database = fromPool(pool)
      fixture = await open(test.url)
    })
    afterAll(async () => {
      await fixture.close()
      await database.close()
      await pool.end()
      await test.drop()
    })
    beforeEach(() => {
      channel = `room:bus-${++number}`
      return async () => {
        await Promise.all(nodes.splice(0).map((node) => node.close()))
      }
    })

    /** Appends events to the log, as the flush would. */
    async function append(data: readonly string[], to = channel): Promise<StoredEvent[]> {
      const { rows } = await pool.query<{ head: string; at: Date }>(
        `with heads as (
           insert into lockstep.channels as c (channel, head) values ($1, cardinality($3::text[]))
           on conflict (channel) do update set head = c.head + excluded.head returning head
         ), stored as (
           insert into lockstep.events (channel, "offset", operation_id, type, data, at)
           select $1, head - cardinality($3::text[]) + n, $2, 'counted', d::json, '2026-01-02T03:04:05.678Z'
           from heads, unnest($3::text[]) with ordinality as given (d, n)
         ) select head from heads`,
        [to, operationId, data],
      )
      const first = Number(rows[0]?.head) - data.length + 1
      const at = new Date('2026-01-02T03:04:05.678Z')
      return data.map((text, index) => {
        return { channel: to, offset: first + index, operationId, type: 'counted', data: text, at }
      })
    }
    const appendNumbers = (count: number, to = channel): Promise<StoredEvent[]> =>
      append(
        Array.from({ length: count }, (_, n) => `{"n":${n}}`),
        to,
      )

    async function createNode(options: NodeOptions = {}): Promise<Node> {
      const bus = await fixture.createBus({ selfTestMs: 500 })
      const node = new Node(options.wrap?.(bus) ?? bus, database, options)
      nodes.push(node)
      await node.bus.start(options.scope ?? 'one history')
      await expect.poll(() => node.bus.health.state, { timeout: 10_000 }).toBe('up')
      return node
    }

    it('carries events to the other nodes, and none back', async () => {
      const [a, b] = [await createNode(), await createNode()]
      const [atA, atB] = [await a.join(channel), await b.join(channel)]
      a.deliveries.deliver(await appendNumbers(3))
      await atB.until((events) => events.length === 3)
      b.deliveries.deliver(await appendNumbers(1))
      await atA.until((events) => events.length === 4)
      for (const node of [a, b]) expect(node.heard.map(({ offset }) => offset)).toEqual([1, 2, 3, 4])
      expect(b.reads).toEqual([])
    })

    it('carries every event as it was emitted, whatever its size', async () => {
      const [a, b] = [await createNode(), await createNode()]
      const inbox = await b.join(channel)
      const data = [
        '{"text":"ünïcødé 🙂 \\u0000 \\ud800 \\n","b":1,"a":1.0,"a":12345678901234567890}',
        JSON.stringify({ text: '🙂é"\\'.repeat(200 * 128) }),
        `{"n": 3}`,
      ]
      const events = await append(data)
      a.deliveries.deliver(events)
      await inbox.until((items) => items.length === 3)
      expect(inbox.items.map((event) => publicationOf(event).publication)).toEqual(
        events.map((event) => publicationOf(new FeedEvent(event)).publication),
      )
    })

    it('carries what has no offset to those who listen now', async () => {
      const [first, second] = [await createNode(), await createNode()]
      const inbox = await second.joinTransient(channel)
      first.deliveries.deliverTransient({
        channel,
        operationId,
        type: 'early',
        data: '{"n":1}',
        at: new Date(0),
      })
      await inbox.until((items) => items.length === 1)
      expect(inbox.items.slice(0, 1).map((event): unknown => JSON.parse(transientPushOf(event)))[0]).toEqual({
        push: {
          channel,
          pub: {
            data: {
              type: 'early',
              data: { n: 1 },
              operationId,
              at: '1970-01-01T00:00:00.000Z',
              committed: false,
            },
          },
        },
      })
    })

    it('brings a node only what somebody there may listen to', async () => {
      const [a, b] = [await createNode(), await createNode()]
      const elsewhere = ['x', 'y', 'z'].find((id) => shardOf(`room:${id}`) !== shardOf(channel))
      const inbox = await b.join(channel)
      a.deliveries.deliver(await appendNumbers(5, `room:${elsewhere}`))
      a.deliveries.deliver(await appendNumbers(1))
      await inbox.until((events) => events.length === 1)
      expect(b.heard.map((event) => event.channel)).toEqual([channel])
    })

    it('keeps the nodes of another history apart', async () => {
      const [a, b] = [await createNode(), await createNode()]
      const stranger = await createNode({ scope: 'another history' })
      await stranger.join(channel)
      const inbox = await b.join(channel)
      a.deliveries.deliver(await appendNumbers(1))
      await inbox.until((events) => events.length === 1)
      expect(stranger.heard).toEqual([])
    })

    it('loses, repeats and reorders as it likes, and yet each event arrives once and in order', async () => {
      const options = { headCheckMs: 50, wrap: unreliable }
      const [a, b, c] = [await createNode(options), await createNode(options), await createNode(options)]
      const inboxes = await Promise.all([a, b, c].map((node) => node.join(channel)))
      for (let round = 0; round < 40; round++) {
        const publisher = round % 2 === 0 ? a : b
        publisher.deliveries.deliver(await appendNumbers(5))
      }
      for (const inbox of inboxes) {
        await inbox.until((events) => events.length >= 200)
        expect(inbox.items.map(({ offset }) => offset)).toEqual(Array.from({ length: 200 }, (_, n) => n + 1))
      }
    })

    it('is missed for a while: nothing throws, nothing piles up, and all is there soon after its return', async ({
      skip,
    }) => {
      if (fixture.outage === undefined) skip('there is no broker that could fail')
      const [a, b] = [await createNode(), await createNode()]
      const inbox = await b.join(channel)
      a.deliveries.deliver(await appendNumbers(1))
      await inbox.until((events) => events.length === 1)

      await fixture.outage?.begin()
      for (const { bus } of [a, b])
        await expect.poll(() => bus.health.state, { timeout: 10_000 }).toBe('down')
      expect(a.bus.health.problem).not.toBe(undefined)
      const during = await appendNumbers(5)
      a.deliveries.deliver(during)
      for (let times = 0; times < 1_000; times++) a.deliveries.deliver(during)
      expect(inbox.items).toHaveLength(1)

      await fixture.outage?.end()
      const returnedAt = performance.now()
      await inbox.until((events) => events.length === 6)
      expect(performance.now() - returnedAt).toBeLessThan(2_000)
      // Events published during the outage were dropped, not kept for later.
      expect(b.heard).toHaveLength(1)
      await expect.poll(() => a.bus.health.state).toBe('up')

      a.deliveries.deliver(await appendNumbers(1))
      await inbox.until((events) => events.length === 7)
      expect(inbox.items.map(({ offset }) => offset)).toEqual([1, 2, 3, 4, 5, 6, 7])
    })

    it('brings 3,000 events to 204 subscribers on three nodes, with the broker gone for a while: none is lost, repeated, out of order, or of the other channel', async () => {
      const three = [await createNode(), await createNode(), await createNode()] as const
      const channels = [channel, `${channel}-other`]
      const readers = channels.flatMap((one) =>
        three.flatMap((node) => Array.from({ length: 34 }, () => new StrictReader(one, node))),
      )
      await Promise.all(channels.flatMap((one) => three.map((node) => node.join(one))))
      await Promise.all(readers.map((reader) => reader.join()))
      for (let round = 0; round < 150; round++) {
        if (round === 50) await fixture.outage?.begin()
        if (round === 100) await fixture.outage?.end()
        for (const one of channels) {
          const data = JSON.stringify({ of: one })
          three[round % 3]?.deliveries.deliver(
            await append(
              Array.from({ length: 10 }, () => data),
              one,
            ),
          )
        }
      }
      await expect
        .poll(() => readers.filter(({ position }) => position < 1_500).length, { timeout: 15_000 })
        .toBe(0)
      expect(readers.flatMap(({ wrong }) => wrong)).toEqual([])
      expect(readers.reduce((sum, { position }) => sum + position, 0)).toBe(306_000)
    })

    it('does not hold up the start of a node when the broker says nothing, and is up once it answers', async ({
      skip,
    }) => {
      if (fixture.stall === undefined) skip('there is no broker that could stall')
      const node = new Node(await fixture.createBus({ selfTestMs: 500 }), database, {})
      nodes.push(node)
      fixture.stall?.begin()
      try {
        await node.bus.start('one history')
        await expect.poll(() => node.bus.health.state, { timeout: 10_000 }).toBe('down')
      } finally {
        fixture.stall?.end()
      }
      await expect.poll(() => node.bus.health.state, { timeout: 10_000 }).toBe('up')
    })

    it('is deaf without a word: that is noticed, and all is there when it hears again', async ({ skip }) => {
      if (fixture.stall === undefined) skip('there is no broker that could stall')
      const [a, b] = [await createNode(), await createNode()]
      const inbox = await b.join(channel)
      fixture.stall?.begin()
      for (let times = 0; times < 100; times++) a.deliveries.deliver(await appendNumbers(1))
      for (const { bus } of [a, b])
        await expect.poll(() => bus.health.state, { timeout: 10_000 }).toBe('down')
      fixture.stall?.end()
      const resumedAt = performance.now()
      await inbox.until((events) => events.length === 100)
      expect(performance.now() - resumedAt).toBeLessThan(2_000)
      expect(inbox.items.map(({ offset }) => offset)).toEqual(Array.from({ length: 100 }, (_, n) => n + 1))
    })
  })
}

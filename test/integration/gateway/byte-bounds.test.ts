// Bounds in bytes on memory, pages and operations: events that are cut into pages arrive whole, in order, each once.
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { systemClock } from '../../../src/core/index.ts'
import { FeedEvent, EventHub, type Subscriber } from '../../../src/feeds/index.ts'
import { EventLog, type StoredEvent } from '../../../src/log/index.ts'
import { newOperationId } from '../../../src/index.ts'
import { fromPool, readEvents, toEventRow } from '../../../src/postgres/index.ts'
import { limits } from '../../../src/protocol/index.ts'
import { centrifuge, connected, Inbox, listen, serve, type Served } from '../../support/sockets.ts'
import { createTestLogger, createWorld, room, type World } from '../../support/world.ts'
import { publicationOf } from '../../../src/gateway/wire/publications.ts'

const schema = '"lockstep"'
const kiB = 1024
const miB = 1024 * kiB

let world: World
let served: Served
let database: ReturnType<typeof fromPool>
let roomNumber = 0
let id: string
let channel: string

beforeAll(async () => {
  // The tests compute for seconds, in which no lease is renewed.
  world = await createWorld({ leaseMs: 120_000 })
  served = await serve(world)
  database = fromPool(world.pool)
})
afterAll(async () => {
  await database.close()
  await world.close()
  await served.close()
})
beforeEach(() => {
  id = `bytes-${++roomNumber}`
  channel = `room:${id}`
})

const range = (from: number, to: number): number[] =>
  Array.from({ length: to - from + 1 }, (_, index) => from + index)
const offsetsOf = (events: readonly { readonly offset: number }[]): number[] =>
  events.map(({ offset }) => offset)

/** Commits an operation that emits so many events to the room. */
function commit(count: number, text = ''): Promise<unknown> {
  return world.lockstep.transaction({ name: 'many', user: 'ada' }, async (tx) => {
    for (const n of range(1, count)) {
      if (text === '') tx.emit(room({ id }), 'counted', { n })
      else tx.emit(room({ id }), 'note.added', { id: `${n}`, text })
    }
  })
}

/** Creates feeds of a second node on the same log, which hears only the heads of channels. */
function createHub(pageBytes?: number) {
  let rowsRead = 0
  const own: typeof database.own = {
    async query<Row>(statement: Parameters<typeof database.own.query>[0]) {
      const result = await database.own.query<Row>(statement)
      if (statement.text.includes('.events')) rowsRead += result.rows.length
      return result
    },
  }
  const log = new EventLog(own, schema, undefined, pageBytes === undefined ? {} : { pageBytes })
  const hub = new EventHub({ log, clock: systemClock, logger: createTestLogger() })
  return { hub, log, rowsRead: () => rowsRead }
}

function createSubscriber() {
  const inbox = new Inbox<FeedEvent>()
  const resets = new Inbox<true>()
  const subscriber: Subscriber = {
    deliver: (events) => events.forEach(inbox.push),
    deliverTransient: () => {},
    reset: () => resets.push(true),
  }
  return { subscriber, inbox, resets }
}

describe('a page of the log', () => {
  it('ends by its bytes, holds one event at least, and the pages of any size make up the log', async () => {
    // Short, long and compressible, long and not: in the row, compressed, and beside the table.
    await world.rows(
      `insert into lockstep.events (channel, "offset", operation_id, type, data, at)
       select $1, n, $2, 'counted', to_json(case n % 4
         when 0 then repeat('€', 20000) when 1 then 'short'
         when 2 then (select string_agg(md5(i || '.' || n), '') from generate_series(1, 2000) i)
         else repeat('n' || n, 700) end), now()
       from generate_series(1, 60) n`,
      [channel, newOperationId()],
    )
    const read = async (after: number, limit: number, maxBytes: number) =>
      (await database.own.query(readEvents(schema, channel, { after, limit, maxBytes }))).rows.map(toEventRow)
    const whole = await read(0, 100, miB * 100)
    expect(offsetsOf(whole)).toEqual(range(1, 60))
    for (const maxBytes of [1, 100, 5_000, 64 * kiB, 100_000, 200_000, miB]) {
      const pages: (typeof whole)[] = []
      for (let after = 0; after < 60; after = pages.at(-1)?.at(-1)?.offset ?? 60)
        pages.push(await read(after, 7, maxBytes))
      expect(pages.flat()).toEqual(whole)
      for (const page of pages) {
        const before = page.slice(0, -1).reduce((sum, { data }) => sum + Buffer.byteLength(data), 0)
        expect(before).toBeLessThan(maxBytes + 100)
        expect(page.length).toBeLessThanOrEqual(7)
      }
    }
  })
})

describe('an operation', () => {
  it('of 130,000 events is refused, leaves nothing, and its user is notified', async () => {
    const ada = await connected(centrifuge(served.url, 'greedy'))
    const notices = new Inbox<{ readonly data: unknown }>()
    ada.on('publication', notices.push)
    const operation = newOperationId()
    let emitted = 0
    const refused = world.lockstep.transaction(
      { name: 'greedy', user: 'greedy', id: operation },
      async (tx) => {
        await tx.db.query(`insert into notes values ($1, 'x')`, [id])
        for (; emitted < 130_000; emitted++) tx.emit(room({ id }), 'counted', { n: emitted })
      },
    )
    await expect(refused).rejects.toMatchObject({
      code: 'LS_OPERATION_TOO_LARGE',
      message: expect.stringMatching(/10001 events; at most 10000 .*several operations/) as string,
    })
    expect(emitted).toBe(limits.maxOperationEvents)
    const [told] = await notices.until((items) => items.length > 0)
    expect(told?.data).toMatchObject({
      operationId: operation,
      data: { errorCode: 'LS_OPERATION_TOO_LARGE' },
    })
    expect(await world.eventsOf(channel)).toEqual([])
    expect(await world.rows('select from notes where id = $1', [id])).toEqual([])
    ada.disconnect()
  })

  it.each(['off', 'observe'] as const)(
    'may emit no more in the mode %s, so that enforce refuses nothing new; what has left stays out',
    async (mode) => {
      const ada = await connected(centrifuge(served.url, 'ada'))
      const subscription = ada.newSubscription(channel)
      const heard = new Inbox<unknown>()
      subscription.on('publication', heard.push)
      subscription.subscribe()
      await subscription.ready()
      const name = `greedy_${mode}`
      await world.lockstep.rollout.set(name, mode)
      const emitAll = (count: number, data: object, type: 'counted' | 'note.added'): Promise<void> =>
        world.lockstep.transaction({ name, user: 'greedy' }, async (tx) => {
          await tx.db.query(`insert into notes values ($1, 'x')`, [id])
          for (let n = 0; n < count; n++) tx.emit(room({ id }), type, data as never)
        })
      await expect(emitAll(limits.maxOperationEvents + 1, { n: 1 }, 'counted')).rejects.toMatchObject({
        code: 'LS_OPERATION_TOO_LARGE',
      })
      const text = 'x'.repeat(200 * kiB)
      const most = Math.floor(limits.maxOperationBytes / (200 * kiB))
      await expect(emitAll(most + 1, { id: 'n', text }, 'note.added')).rejects.toMatchObject({
        code: 'LS_OPERATION_TOO_LARGE',
      })
      await heard.until((items) => items.length > 0)
      expect(await world.rows('select from notes where id = $1', [id])).toEqual([])
      expect(await world.eventsOf(channel)).toEqual([])
      ada.disconnect()
    },
  )

  it('is refused by the bytes of its events, in UTF-8; what a savepoint has taken back does not count', async () => {
    const text = '€'.repeat(80 * kiB)
    const most = Math.floor(limits.maxOperationBytes / Buffer.byteLength(JSON.stringify({ id: 'n', text })))
    await expect(commit(most + 1, text)).rejects.toMatchObject({
      code: 'LS_OPERATION_TOO_LARGE',
      message: expect.stringMatching(/events of \d+ bytes; at most 16777216 bytes/) as string,
    })
    expect(await world.eventsOf(channel)).toEqual([])
    await world.lockstep.transaction({ name: 'again', user: 'ada' }, async (tx) => {
      const emit = (count: number): void => {
        for (let n = 0; n < count; n++) tx.emit(room({ id }), 'note.added', { id: 'n', text })
      }
      const nested = tx.transaction(async () => {
        emit(most)
        throw new Error('taken back')
      })
      await expect(nested).rejects.toThrow('taken back')
      emit(2)
    })
    expect(await world.eventsOf(channel)).toHaveLength(2)
  })

  it('of 10,000 events arrives whole, here, on another node, and by its pages', async () => {
    const client = await connected(centrifuge(served.url, 'whole'))
    const { inbox } = await listen(client, channel)
    const { hub, log } = createHub(20_000)
    const far = createSubscriber()
    const joined = await hub.join(channel, {}, far.subscriber)
    joined.start()
    await commit(10_000)
    hub.receiveHeads([{ channel, head: 10_000 }])
    await far.inbox.until((items) => items.length >= 10_000)
    expect(offsetsOf(far.inbox.items)).toEqual(range(1, 10_000))
    const numberOf = (publication: string): unknown =>
      (JSON.parse(publication) as { data: { data: unknown } }).data.data
    expect(far.inbox.items.map((event) => numberOf(publicationOf(event).publication))).toEqual(
      range(1, 10_000).map((n) => ({ n })),
    )
    const read = await log.readBetween(channel, 0, 10_000, 100 * miB)
    expect(read?.map((event) => publicationOf(new FeedEvent(event)).publication)).toEqual(
      far.inbox.items.map((event) => publicationOf(event).publication),
    )
    await inbox.until((items) => items.length >= 10_000)
    expect(inbox.items.map(({ offset }) => offset)).toEqual(range(1, 10_000))
    joined.leave()
    client.disconnect()
  })
})

describe('a subscriber', () => {
  it('recovers over pages that are cut by bytes, and reloads where that is more than it may be sent', async () => {
    for (const n of range(1, 20)) await commit(2, `${n} ${'é'.repeat(4_000)}`)
    const { hub, rowsRead } = createHub(20_000)
    const anchor = await hub.join(channel, {}, createSubscriber().subscriber)
    const recoverFrom = { offset: 3, epoch: '' }
    const back = await hub.join(channel, { recoverFrom, maxBytes: 512 * kiB }, createSubscriber().subscriber)
    expect(back.kind).toBe('recovered')
    expect(offsetsOf(back.missed)).toEqual(range(4, 40))
    const other = createHub(20_000)
    const tooFar = await other.hub.join(
      channel,
      { recoverFrom, maxBytes: 50_000 },
      createSubscriber().subscriber,
    )
    expect(tooFar).toMatchObject({ kind: 'unrecoverable', missed: [] })
    expect(other.rowsRead()).toBeLessThan(12)
    expect(rowsRead()).toBe(37)
    for (const one of [anchor, back, tooFar]) one.leave()
  })

  it('gets big events behind a hole, all of them once and in order', async () => {
    const { hub } = createHub()
    const { subscriber, inbox } = createSubscriber()
    const joined = await hub.join(channel, {}, subscriber)
    joined.start()
    const text = 'x'.repeat(200 * kiB)
    await commit(1)
    for (let n = 0; n < 5; n++) await commit(4, text)
    const { rows } = await database.own.query(
      readEvents(schema, channel, { after: 0, limit: 100, maxBytes: 100 * miB }),
    )
    const stored: readonly StoredEvent[] = rows.map((row) => ({ channel, ...toEventRow(row) }))
    hub.deliver(stored.slice(1))
    await inbox.until((items) => items.length >= 21)
    expect(offsetsOf(inbox.items)).toEqual(range(1, 21))
    joined.leave()
  })
})

describe('a node', { timeout: 120_000 }, () => {
  it('keeps its heap while 200 events of 256 kB pass through each of 20 channels', async () => {
    setFlagsFromString('--expose-gc')
    const collect = runInNewContext('gc') as () => void
    const heapMiB = (): number => {
      collect()
      return process.memoryUsage().heapUsed / miB
    }
    const { hub } = createHub()
    let bytes = 0
    const subscriber: Subscriber = {
      // Reads the text, as a socket does.
      deliver: (events) => events.forEach((event) => (bytes += Buffer.byteLength(publicationOf(event).push))),
      deliverTransient: () => {},
      reset: () => {},
    }
    const before = heapMiB()
    const grown: number[] = []
    const operationId = newOperationId()
    for (const number of range(1, 20)) {
      const name = `${channel}-${number}`
      const joined = await hub.join(name, {}, subscriber)
      joined.start()
      for (const offset of range(1, 200)) {
        const data = JSON.stringify(`${offset}`.padEnd(255 * kiB, 'x'))
        hub.deliver([{ channel: name, offset, operationId, type: 'counted', data, at: new Date() }])
      }
      if (number % 5 === 0) grown.push(heapMiB() - before - number * 4)
    }
    expect(Math.max(...grown)).toBeLessThan(30)
    expect(bytes).toBeGreaterThan(20 * 200 * 255 * kiB)
  })
})

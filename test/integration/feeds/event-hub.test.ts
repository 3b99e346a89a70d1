import pg from 'pg'
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest'
import { systemClock } from '../../../src/core/index.ts'
import { FeedEvent, EventHub, type EventHubOptions, type Subscriber } from '../../../src/feeds/index.ts'
import { EventLog, type StoredEvent } from '../../../src/log/index.ts'
import { fromPool } from '../../../src/postgres/index.ts'
import { createTestDatabase, type TestDatabase } from '../../support/database.ts'
import { Inbox } from '../../support/sockets.ts'
import { createTestLogger } from '../../support/world.ts'
import { ManualClock } from '../../support/manual-clock.ts'
import { publicationOf } from '../../../src/gateway/wire/publications.ts'

const schema = '"lockstep"'
/** Events as they go over the wire, live and in a recovery. */
const texts = (events: readonly (StoredEvent | FeedEvent)[]) =>
  events.map((event) => publicationOf(event instanceof FeedEvent ? event : new FeedEvent(event)))

let test: TestDatabase
let pool: pg.Pool
let database: ReturnType<typeof fromPool>
let channelNumber = 0
let channel: string

beforeAll(async () => {
  test = await createTestDatabase()
  pool = new pg.Pool({ connectionString: test.url, max: 4 })
  database = fromPool(pool)
})
afterAll(async () => {
  await database.close()
  await pool.end()
  await test.drop()
})
beforeEach(() => {
  channel = `room:hub-${++channelNumber}`
})

const operationId = '0197a6b0-0000-7000-8000-000000000001'

/** Appends events to the log as the flush would, and gives them back as they are delivered. */
async function append(count: number): Promise<StoredEvent[]> {
  const { rows } = await pool.query<{ head: string; at: Date }>(
    `with heads as (
       insert into lockstep.channels as c (channel, head) values ($1, $2)
       on conflict (channel) do update set head = c.head + excluded.head returning head
     ), stored as (
       insert into lockstep.events (channel, "offset", operation_id, type, data, at)
       select $1, head - $2 + n, $3, 'counted', ('{"n":' || (head - $2 + n) || '}')::json, now()
       from heads, generate_series(1, $2) n
     ) select head, now() as at from heads`,
    [channel, count, operationId],
  )
  const head = Number(rows[0]?.head)
  return Array.from({ length: count }, (_, i) => {
    const offset = head - count + 1 + i
    return {
      channel,
      offset,
      operationId,
      type: 'counted',
      data: JSON.stringify({ n: offset }),
      at: rows[0]?.at ?? new Date(),
    }
  })
}

function createHub(options: Partial<Pick<EventHubOptions, 'gapWaitMs' | 'headCheckMs' | 'ackSample'>> = {}) {
  const logger = createTestLogger()
  const reads: string[] = []
  const own: typeof database.own = {
    query: (statement) => {
      reads.push(statement.text)
      return database.own.query(statement)
    },
  }
  const hub = new EventHub({ log: new EventLog(own, schema), clock: systemClock, logger, ...options })
  return { hub, logger, reads }
}

function createSubscriber() {
  const inbox = new Inbox<FeedEvent>()
  const resets = new Inbox<true>()
  const subscriber: Subscriber = {
    deliver: (events) => events.forEach(inbox.push),
    deliverTransient: () => {},
    reset: () => resets.push(true),
  }
  return { subscriber, inbox, resets, offsets: () => inbox.items.map(({ offset }) => offset) }
}

it('delivers in offset order whatever the order of arrival, each once', async () => {
  const { hub } = createHub()
  const { subscriber, inbox, offsets } = createSubscriber()
  const joined = await hub.join(channel, {}, subscriber)
  joined.start()
  expect(joined).toMatchObject({ kind: 'fresh', position: { offset: 0 } })
  const events = await append(5)
  for (const index of [3, 1, 0, 0, 4, 2, 3]) hub.deliver(events.slice(index, index + 1))
  await inbox.until((items) => items.length === 5)
  expect(offsets()).toEqual([1, 2, 3, 4, 5])
  joined.leave()
  expect(hub.channelCount).toBe(0)
})

it('reads the log when a hole is not filled in time', async () => {
  const { hub } = createHub()
  const { subscriber, inbox, offsets } = createSubscriber()
  const joined = await hub.join(channel, {}, subscriber)
  joined.start()
  const events = await append(3)
  hub.deliver(events.slice(2))
  await inbox.until((items) => items.length === 3)
  expect(offsets()).toEqual([1, 2, 3])
  expect(texts(inbox.items.slice(0, 1))).toEqual(texts(events.slice(0, 1)))
  joined.leave()
})

it('asks to acknowledge what is delivered live, and neither what is read nor what is recovered', async () => {
  const { hub } = createHub({ ackSample: { rate: 1, perSecond: Infinity } })
  const { subscriber, inbox } = createSubscriber()
  const joined = await hub.join(channel, {}, subscriber)
  joined.start()
  const others = await Promise.all(
    Array.from({ length: 39 }, () => hub.join(channel, {}, createSubscriber().subscriber)),
  )
  const events = await append(4)
  hub.deliver(events.slice(0, 1))
  hub.deliver(events.slice(1, 3))
  await inbox.until((items) => items.length === 3)
  const late = await append(2)
  // The fourth and the fifth event did not arrive, so the log is read from there.
  hub.deliver(late.slice(1))
  await inbox.until((items) => items.length === 6)
  expect(inbox.items.map(({ tags }) => tags?.['ack'])).toEqual([
    '0.5',
    '0.5',
    '0.5',
    undefined,
    undefined,
    '0.5',
  ])
  const { position } = joined
  const back = await hub.join(
    channel,
    { recoverFrom: { ...position, offset: 0 } },
    createSubscriber().subscriber,
  )
  const recovered = texts(back.missed).map(({ publication }) => publication)
  expect(recovered).toEqual(texts([...events, ...late]).map(({ publication }) => publication))
  for (const each of [joined, back, ...others]) each.leave()
})

it('asks nobody unless told to', async () => {
  const { hub } = createHub()
  const { subscriber, inbox } = createSubscriber()
  const joined = await hub.join(channel, {}, subscriber)
  joined.start()
  const events = await append(2)
  hub.deliver(events)
  await inbox.until((items) => items.length === 2)
  expect(texts(inbox.items)).toEqual(texts(events))
  joined.leave()
})

it('finds what never arrived here, by comparing heads', async () => {
  const { hub } = createHub({ headCheckMs: 20 })
  hub.start()
  const { subscriber, inbox, offsets } = createSubscriber()
  const joined = await hub.join(channel, {}, subscriber)
  joined.start()
  await append(2)
  await inbox.until((items) => items.length === 2)
  expect(offsets()).toEqual([1, 2])
  joined.leave()
  hub.close()
})

it('holds back live events until the reply has gone out, and then hands over what is newer', async () => {
  const { hub } = createHub()
  const first = createSubscriber()
  const anchor = await hub.join(channel, {}, first.subscriber)
  anchor.start()
  hub.deliver(await append(3))
  const { subscriber, inbox, offsets } = createSubscriber()
  const joined = await hub.join(
    channel,
    { recoverFrom: { offset: 1, epoch: anchor.position.epoch } },
    subscriber,
  )
  expect(joined).toMatchObject({ kind: 'recovered', position: { offset: 3 } })
  expect(joined.missed.map(({ offset }) => offset)).toEqual([2, 3])
  hub.deliver(await append(1))
  expect(offsets()).toEqual([])
  joined.start()
  await inbox.until((items) => items.length === 1)
  expect(offsets()).toEqual([4])
  anchor.leave()
  joined.leave()
})

it.each([
  ['another epoch', { offset: 1, epoch: 'other' }],
  ['an offset of the future', { offset: 99, epoch: '' }],
])('cannot recover from %s', async (_, from) => {
  const { hub } = createHub()
  await append(2)
  const { subscriber } = createSubscriber()
  const fresh = await hub.join(channel, {}, subscriber)
  const recoverFrom = from.epoch === '' ? { ...from, epoch: fresh.position.epoch } : from
  const joined = await hub.join(channel, { recoverFrom }, createSubscriber().subscriber)
  expect(joined).toMatchObject({ kind: 'unrecoverable', position: { offset: 2 }, missed: [] })
  fresh.leave()
  joined.leave()
})

it('recovers by offset alone a client that was given no epoch', async () => {
  const { hub } = createHub()
  await append(3)
  const recoverFrom = { offset: 1, epoch: '' }
  const joined = await hub.join(channel, { recoverFrom }, createSubscriber().subscriber)
  expect(joined).toMatchObject({ kind: 'recovered', position: { offset: 3 } })
  expect(joined.missed.map(({ offset }) => offset)).toEqual([2, 3])
  joined.leave()
})

it('recovers a client that is ahead of what this node has heard', async () => {
  const { hub } = createHub()
  const first = createSubscriber()
  const anchor = await hub.join(channel, {}, first.subscriber)
  anchor.start()
  await append(3)
  const joined = await hub.join(
    channel,
    { recoverFrom: { offset: 2, epoch: anchor.position.epoch } },
    createSubscriber().subscriber,
  )
  expect(joined.kind).toBe('recovered')
  expect(joined.missed.map(({ offset }) => offset)).toEqual([3])
  anchor.leave()
  joined.leave()
})

it('costs one read for any number that recover what memory no longer holds at once', async () => {
  const { hub, reads } = createHub()
  const events = await append(250)
  const anchor = await hub.join(channel, {}, createSubscriber().subscriber)
  anchor.start()
  const { epoch } = anchor.position
  reads.length = 0
  const all = await Promise.all(
    Array.from({ length: 100 }, () =>
      hub.join(channel, { recoverFrom: { offset: 10, epoch } }, createSubscriber().subscriber),
    ),
  )
  expect(all.every(({ missed }) => missed.length === events.length - 10)).toBe(true)
  expect(reads.filter((text) => text.includes('.events'))).toHaveLength(1)
  for (const joined of all) joined.leave()
  anchor.leave()
})

it('asks subscribers to start over when the missing events are gone, or the history was replaced', async () => {
  const { hub } = createHub({ headCheckMs: 20 })
  hub.start()
  const gone = createSubscriber()
  const one = await hub.join(channel, {}, gone.subscriber)
  one.start()
  await pool.query(`insert into lockstep.channels values ($1, 7)`, [channel])
  await gone.resets.until((items) => items.length === 1)

  const replaced = createSubscriber()
  const two = await hub.join(channel, {}, replaced.subscriber)
  two.start()
  await pool.query(`update lockstep.meta set epoch = 'replaced'`)
  await replaced.resets.until((items) => items.length === 1)
  expect(gone.offsets()).toEqual([])
  expect(hub.channelCount).toBe(0)
  hub.close()
})

/** A hub whose log and time the test moves; `clock` moves when the test says so. */
function createStillHub() {
  const gates: { readonly answer: (rows: readonly object[]) => void; readonly fail: () => void }[] = []
  const own: typeof database.own = {
    query: () =>
      new Promise((resolve, reject) => {
        gates.push({
          answer: (rows) => resolve({ rows: rows as never, count: rows.length }),
          fail: () => reject(new Error('away')),
        })
      }),
  }
  const clock = new ManualClock()
  const hub = new EventHub({ log: new EventLog(own, schema), clock, logger: createTestLogger() })
  const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
  const asked = async () => {
    while (gates.length === 0) await turn()
    return gates.shift() as (typeof gates)[number]
  }
  /** Lets waiting work run, once. */
  const pass = async (): Promise<void> => {
    clock.fireAll()
    await turn()
  }
  const join = async () => {
    const joining = hub.join(channel, {}, createSubscriber().subscriber)
    const opened = await asked()
    opened.answer([{ epoch: 'e', channel: null, head: null }])
    const joined = await joining
    joined.start()
    return joined
  }
  return { hub, clock, asked, pass, join, turn }
}

it('waits for nothing any more once the last has left, while heads are compared', async () => {
  const { hub, clock, asked, pass, join } = createStillHub()
  const joined = await join()
  const comparing = hub.checkHeads()
  const compared = await asked()
  joined.leave()
  compared.answer([{ epoch: 'e', channel, head: '3' }])
  await comparing
  await pass()
  await pass()
  expect(clock.timerCount).toBe(0)
})

it('waits for nothing any more once the last has left, while the log cannot be read', async () => {
  const { hub, clock, asked, pass, join, turn } = createStillHub()
  const joined = await join()
  hub.receiveHeads([{ channel, head: 3 }])
  await pass()
  const read = await asked()
  read.fail()
  await turn()
  expect(clock.timerCount).toBe(1)
  joined.leave()
  await pass()
  await pass()
  expect(clock.timerCount).toBe(0)
})

it('tries again one at a time while the log cannot be read, whatever arrives meanwhile', async () => {
  const { hub, clock, asked, pass, join, turn } = createStillHub()
  const joined = await join()
  for (const head of [3, 4, 5]) {
    hub.receiveHeads([{ channel, head }])
    expect(clock.timerCount).toBe(1)
    await pass()
    const read = await asked()
    read.fail()
    await turn()
    expect(clock.timerCount).toBe(1)
  }
  joined.leave()
})

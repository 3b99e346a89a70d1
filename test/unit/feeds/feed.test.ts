// A feed whose log the test answers: the events that it keeps while a hole stays open, and those of a history that was
// replaced.
import { expect, it } from 'vitest'
import type { Queryable, Statement } from '../../../src/core/index.ts'
import { EventHub, type Joined } from '../../../src/feeds/index.ts'
import { touchedEvent } from '../../../src/protocol/index.ts'
import { EventLog, type StoredEvent } from '../../../src/log/index.ts'
import { createTestLogger } from '../../support/world.ts'
import { ManualClock } from '../../support/manual-clock.ts'

const channel = 'room:1'
const operationId = '0197a6b0-0000-7000-8000-000000000001'

interface Asked {
  readonly statement: Statement
  readonly answer: (rows: readonly object[]) => void
}

const eventOf = (offset: number, data = '{}'): StoredEvent => ({
  channel,
  offset,
  operationId,
  type: 'counted',
  data,
  at: new Date(0),
})
const rowsOf = (offsets: readonly number[], data = '{}'): object[] =>
  offsets.map((offset) => ({ offset, operation_id: operationId, type: 'counted', data, at_ms: 0 }))
const headOf = (head: number, epoch: string): object[] => [{ epoch, channel, head: String(head) }]
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

function createFeed() {
  const questions: Asked[] = []
  const own: Queryable = {
    query: (statement) =>
      new Promise((resolve) => {
        questions.push({
          statement,
          answer: (rows) => resolve({ rows: rows as never, count: rows.length }),
        })
      }),
  }
  const clock = new ManualClock()
  const hub = new EventHub({ log: new EventLog(own, 'lockstep'), clock, logger: createTestLogger() })
  const delivered: number[] = []
  let resets = 0
  const asked = async (): Promise<Asked> => {
    while (questions.length === 0) await turn()
    return questions.shift() as Asked
  }
  return {
    hub,
    delivered,
    questions,
    resets: () => resets,
    asked,
    async pass(): Promise<void> {
      clock.fireAll()
      await turn()
    },
    join: (recoverFrom?: { readonly offset: number; readonly epoch: string }): Promise<Joined> =>
      hub.join(channel, recoverFrom === undefined ? {} : { recoverFrom }, {
        deliver: (events) => delivered.push(...events.map(({ offset }) => offset)),
        deliverTransient: () => {},
        reset: () => (resets += 1),
      }),
    async open(head: number, epoch: string): Promise<Joined> {
      const joining = this.join()
      const question = await asked()
      question.answer(headOf(head, epoch))
      const joined = await joining
      joined.start()
      return joined
    },
  }
}

it('keeps a bounded number of events behind a hole, however long the log is away, and reads the rest', async () => {
  const feed = createFeed()
  const joined = await feed.open(1, 'a')
  for (let offset = 3; offset <= 20_000; offset++) feed.hub.deliver([eventOf(offset)])
  await feed.pass()
  expect(feed.delivered).toEqual([])
  ;(await feed.asked()).answer(rowsOf([2]))
  const next = await feed.asked()
  expect(feed.delivered.length).toBeLessThan(2_000)
  const { length } = feed.delivered
  next.answer(rowsOf([length + 2, length + 3]))
  await feed.asked()
  expect(feed.delivered).toEqual(Array.from({ length: length + 2 }, (_, index) => index + 2))
  joined.leave()
})

it('a read that was under way when the history was replaced serves nobody of the new one', async () => {
  const feed = createFeed()
  const anchor = await feed.open(3, 'a')
  const early = feed.join({ offset: 1, epoch: 'a' })
  const old = await feed.asked()
  const comparing = feed.hub.checkHeads()
  ;(await feed.asked()).answer(headOf(3, 'b'))
  await comparing
  expect(feed.resets()).toBe(1)
  old.answer(rowsOf([2, 3], '"old"'))
  // The subscriber who was about to join comes into the new history, and is told that its position is of another one.
  ;(await feed.asked()).answer(headOf(3, 'b'))
  const one = await early
  expect(one).toMatchObject({ kind: 'unrecoverable', position: { offset: 3, epoch: 'b' }, missed: [] })
  const joining = feed.join({ offset: 1, epoch: 'b' })
  const read = await feed.asked()
  read.answer(rowsOf([2, 3], '"new"'))
  const two = await joining
  expect(two.kind).toBe('recovered')
  expect(two.missed.map(({ data }) => data.includes('"new"'))).toEqual([true, true])
  for (const joined of [anchor, one, two]) joined.leave()
})

it('a client that is ahead of this node is asked to reload when catching up finds another history', async () => {
  const feed = createFeed()
  const anchor = await feed.open(3, 'a')
  const joining = feed.join({ offset: 5, epoch: 'a' })
  for (const _ of ['catching up', 'joining again']) (await feed.asked()).answer(headOf(5, 'b'))
  const joined = await joining
  expect(joined).toMatchObject({ kind: 'unrecoverable', position: { offset: 5, epoch: 'b' } })
  anchor.leave()
  joined.leave()
})

it('what waited behind a hole when the history was replaced reaches nobody of the new one', async () => {
  const feed = createFeed()
  const anchor = await feed.open(3, 'a')
  feed.hub.deliver([eventOf(5, '"old"')])
  const comparing = feed.hub.checkHeads()
  ;(await feed.asked()).answer(headOf(3, 'b'))
  await comparing
  const joining = feed.join({ offset: 3, epoch: 'a' })
  ;(await feed.asked()).answer(headOf(3, 'b'))
  const joined = await joining
  joined.start()
  feed.hub.deliver([eventOf(4)])
  expect(feed.delivered).toEqual([4])
  feed.hub.deliver([eventOf(5)])
  expect(feed.delivered).toEqual([4, 5])
  anchor.leave()
  joined.leave()
})

it('another event at an offset that was delivered shows that the history was replaced, before any more is', async () => {
  const feed = createFeed()
  await feed.open(1, 'a')
  const other = '0197a6b0-0000-7000-8000-000000000002'
  feed.hub.deliver([eventOf(2), eventOf(3)])
  // The same again is only what a bus may do.
  feed.hub.deliver([eventOf(2)])
  expect(feed.resets()).toBe(0)
  feed.hub.deliver([{ ...eventOf(3), operationId: other }, eventOf(4)])
  expect(feed.resets()).toBe(1)
  expect(feed.delivered).toEqual([2, 3])
  expect(feed.hub.channelCount).toBe(0)
})

it('a head that went back shows that the history was replaced', async () => {
  const feed = createFeed()
  await feed.open(1, 'a')
  feed.hub.deliver([eventOf(2)])
  const comparing = feed.hub.checkHeads()
  ;(await feed.asked()).answer(headOf(1, 'a'))
  await comparing
  expect(feed.resets()).toBe(1)
})

it('a reply that waits for long holds a bounded number of events: its subscriber starts over then', async () => {
  const feed = createFeed()
  const anchor = await feed.open(0, 'a')
  const waiting = await feed.join()
  for (let offset = 1; offset <= 20_000; offset++) feed.hub.deliver([eventOf(offset)])
  expect(feed.delivered).toHaveLength(20_000)
  waiting.start()
  expect(feed.delivered).toHaveLength(20_000)
  expect(feed.resets()).toBe(1)
  anchor.leave()
  expect(feed.hub.channelCount).toBe(0)
})

it('an event that comes while a subscriber recovers is counted from the hidden entries before it', async () => {
  const feed = createFeed()
  const anchor = await feed.open(3, 'a')
  const joining = feed.join({ offset: 1, epoch: 'a' })
  const read = await feed.asked()
  // Offset 3 is hidden, and the feed, which began at 3, does not know that yet.
  feed.hub.deliver([eventOf(4)])
  read.answer([...rowsOf([2]), { ...rowsOf([3])[0], type: touchedEvent, data: 'null' }])
  const joined = await joining
  expect(joined).toMatchObject({ kind: 'recovered', position: { offset: 4 } })
  expect(joined.missed.map(({ offset, skipped }) => [offset, skipped])).toEqual([
    [2, 0],
    [4, 1],
  ])
  for (const each of [anchor, joined]) each.leave()
})

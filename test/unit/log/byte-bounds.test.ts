// Events that a node keeps are bounded by bytes, and the events of a log are the same whatever its pages are.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { OffsetSequencer, type Queryable } from '../../../src/core/index.ts'
import { FeedEvent } from '../../../src/feeds/index.ts'
import { EventLog, type StoredEvent } from '../../../src/log/index.ts'
import { HeldEvents } from '../../../src/feeds/held-events.ts'
import { RecentEvents } from '../../../src/feeds/recent-events.ts'
import { RecentMemory } from '../../../src/feeds/recent-memory.ts'
import { publicationOf } from '../../../src/gateway/wire/publications.ts'

const channel = 'room:1'
const operationId = '0197a6b0-0000-7000-8000-000000000001'

const storedAt = (offset: number, data: string): StoredEvent => {
  return { channel, offset, operationId, type: 'counted', data, at: new Date(0) }
}
const eventAt = (offset: number, data = '{}'): FeedEvent => new FeedEvent(storedAt(offset, data))
const range = (from: number, to: number): number[] =>
  Array.from({ length: Math.max(0, to - from + 1) }, (_, index) => from + index)
const offsetsOf = (events: readonly { readonly offset: number }[] | undefined): number[] | undefined =>
  events?.map(({ offset }) => offset)
const sum = (numbers: readonly number[]): number => numbers.reduce((total, number) => total + number, 0)

/** A log that answers as the database does: a page ends with the event that reaches its bytes. */
function createLog(data: readonly string[], pageBytes: number) {
  let reads = 0
  const sent: number[] = []
  const own: Queryable = {
    query: async ({ values = [] }) => {
      const [, after, limit, maxBytes] = values as [string, number, number, number]
      reads += 1
      const rows: object[] = []
      for (
        let bytes = 0, index = after;
        rows.length < limit && index < data.length && bytes < maxBytes;
        index++
      ) {
        const text = data[index] ?? ''
        rows.push({ offset: index + 1, operation_id: operationId, type: 'counted', data: text, at_ms: 0 })
        bytes += Buffer.byteLength(text)
        sent.push(bytes)
      }
      return { rows: rows as never, count: rows.length }
    },
  }
  return { log: new EventLog(own, 'lockstep', undefined, { pageBytes }), reads: () => reads, sent }
}

const createRecent = (log: EventLog, memory = new RecentMemory(1e9), maxBytes?: number): RecentEvents =>
  new RecentEvents(channel, { log, memory, keep: 100, ...(maxBytes === undefined ? {} : { maxBytes }) })

/** Texts of all widths: one to four bytes of UTF-8 a character. */
const texts = fc.array(
  fc
    .tuple(fc.constantFrom('a', 'é', '€', '🙂'), fc.nat(60))
    .map(([letter, times]) => JSON.stringify(letter.repeat(times))),
  { minLength: 1, maxLength: 60 },
)

describe('the bytes of an event', () => {
  test('are those of its publication in UTF-8, about', () => {
    for (const letter of ['a', 'é', '€', '🙂']) {
      const event = eventAt(7, JSON.stringify(letter.repeat(5_000)))
      expect(Math.abs(event.bytes - Buffer.byteLength(publicationOf(event).publication))).toBeLessThan(40)
    }
  })
})

describe('a log that is read by pages', () => {
  test('has the same events whatever the size of the pages, and none twice', async () => {
    await fc.assert(
      fc.asyncProperty(
        texts,
        fc.integer({ min: 1, max: 2_000 }),
        fc.nat(60),
        async (data, pageBytes, start) => {
          const from = Math.min(start, data.length)
          const { log } = createLog(data, pageBytes)
          const events = await log.readBetween(channel, from, data.length, 1e9)
          expect(offsetsOf(events)).toEqual(range(from + 1, data.length))
          const whole = data
            .slice(from)
            .map((text, index) => publicationOf(eventAt(from + 1 + index, text)).publication)
          expect(events?.map((event) => publicationOf(new FeedEvent(event)).publication)).toEqual(whole)
        },
      ),
    )
  })

  test('is not read to the end where that is more than may be sent', async () => {
    const data = range(1, 300).map(() => JSON.stringify('€'.repeat(80_000)))
    const { log, reads, sent } = createLog(data, 512 * 1024)
    expect(await createRecent(log).between(0, 300, 512 * 1024)).toBeUndefined()
    expect(reads()).toBe(1)
    expect(sent).toHaveLength(3)
  })

  test('gives those who share a read all that they miss, also what came meanwhile', async () => {
    const data = range(1, 9).map((offset) => JSON.stringify(`${offset}`))
    const { log, reads } = createLog(data, 25)
    const recent = createRecent(log)
    const first = recent.between(2, 7, 1e6)
    const second = recent.between(4, 7, 1e6)
    recent.append([eventAt(8, '"8"'), eventAt(9, '"9"')])
    const third = recent.between(5, 9, 1e6)
    expect([await first, await second, await third].map(offsetsOf)).toEqual([
      range(3, 7),
      range(5, 7),
      range(6, 9),
    ])
    const known = reads()
    expect(offsetsOf(await recent.between(2, 9, 1e6))).toEqual(range(3, 9))
    expect(reads()).toBe(known)
  })
})

describe('recent events', () => {
  const { log } = createLog([], 1)

  test.each(['a', '€', '🙂'])('keep no more bytes than a channel may have, in letters like %s', (letter) => {
    const memory = new RecentMemory(1e9)
    const recent = createRecent(log, memory, 100_000)
    const data = JSON.stringify(letter.repeat(3_000))
    for (const offset of range(1, 199)) recent.append([eventAt(offset, data)])
    const kept = range(1, 199).flatMap((offset) => recent.at(offset) ?? [])
    const { bytes } = eventAt(1, data)
    expect(offsetsOf(kept)).toEqual(range(200 - Math.floor(100_000 / bytes), 199))
    expect(memory.bytes).toBe(kept.length * bytes)
  })

  test('of all channels stay within the bytes of a node, and the channel that was quiet longest forgets first', () => {
    const memory = new RecentMemory(10 * eventAt(1).bytes)
    const [quiet, busy] = [createRecent(log, memory), createRecent(log, memory)]
    quiet.append(range(1, 4).map((offset) => eventAt(offset)))
    busy.append(range(1, 6).map((offset) => eventAt(offset)))
    expect(quiet.at(4)).toBeDefined()
    busy.append([eventAt(7)])
    expect(quiet.at(4)).toBeUndefined()
    expect(busy.at(1)).toBeDefined()
    quiet.append([eventAt(5)])
    expect(quiet.at(5)).toBeDefined()
    busy.close()
    quiet.close()
    expect(memory.bytes).toBe(0)
  })

  test('are accounted to the byte, whatever is appended, read and closed', async () => {
    const step = fc.record({ channel: fc.nat(4), size: fc.nat(400), close: fc.boolean(), from: fc.nat(30) })
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { maxLength: 80 }),
        fc.integer({ min: 1, max: 4_000 }),
        async (steps, most) => {
          const memory = new RecentMemory(most)
          const data = range(1, 100).map((offset) => JSON.stringify('x'.repeat(offset)))
          const paged = createLog(data, 500).log
          const channels = range(0, 4).map(() => ({
            recent: createRecent(paged, memory, 2_000),
            head: 20,
            seen: [] as FeedEvent[],
          }))
          for (const { channel: number, size, close, from } of steps) {
            const one = channels[number]
            if (one === undefined) continue
            const event = eventAt(++one.head, JSON.stringify('y'.repeat(size)))
            one.seen.push(event)
            one.recent.append([event])
            await one.recent.between(Math.min(from, one.head), one.head, 1_000)
            expect(memory.bytes).toBeLessThanOrEqual(most)
            const kept = channels.map(({ recent }) =>
              sum(range(1, 120).map((offset) => recent.at(offset)?.bytes ?? 0)),
            )
            expect(memory.bytes).toBe(sum(kept))
            if (!close) continue
            one.recent.close()
            one.recent = createRecent(paged, memory, 2_000)
          }
        },
      ),
      { numRuns: 40 },
    )
  })
})

describe('what waits', () => {
  test('behind a hole stays within its bytes, and each offset goes out once and in order when it is read', () => {
    const sizes = fc.array(fc.nat(300), { minLength: 2, maxLength: 60 })
    fc.assert(
      fc.property(sizes, fc.integer({ min: 1, max: 2_000 }), (all, maxBytes) => {
        const items = all.map((bytes, index) => ({ offset: index + 1, bytes }))
        const sequencer = new OffsetSequencer<(typeof items)[number]>(0, { maxAhead: 40, maxBytes })
        const out = items.slice(1).flatMap((item) => sequencer.accept(item))
        expect(out).toEqual([])
        const read: number[] = []
        while (sequencer.hasGap) {
          const missing = items[sequencer.position]
          if (missing === undefined) break
          const released = sequencer.accept(missing)
          expect(sum(released.slice(1).map(({ bytes }) => bytes))).toBeLessThanOrEqual(maxBytes)
          read.push(...released.map(({ offset }) => offset))
        }
        expect(read).toEqual(range(1, items.length))
      }),
    )
  })

  test('for a reply, or for the head of a channel, stays within a number and its bytes', () => {
    const { bytes } = eventAt(1)
    const held = new HeldEvents(3, 10 * bytes)
    expect(range(1, 5).map((offset) => held.add(eventAt(offset)))).toEqual([true, true, true, false, false])
    expect(offsetsOf(held.take())).toEqual([1, 2, 3])
    const small = new HeldEvents(100, 2 * bytes)
    expect(range(1, 3).map((offset) => small.add(eventAt(offset)))).toEqual([true, true, false])
  })
})

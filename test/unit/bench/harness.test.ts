import { expect, test } from 'vitest'
import { FrameCounter, maskedText } from '../../../bench/harness/frame-counter.ts'
import { Latencies } from '../../../bench/harness/histogram.ts'
import { closedLoop, countedLoop, openLoop } from '../../../bench/harness/load.ts'
import { interleave, intervalOf, median, ratioOf } from '../../../bench/harness/rounds.ts'

/** Builds a frame as a server sends it: without a mask. */
function frame(text: string): Buffer {
  const payload = Buffer.from(text)
  const head = Buffer.from(
    payload.length < 126 ? [0x81, payload.length] : [0x81, 126, payload.length >> 8, payload.length & 0xff],
  )
  return Buffer.concat([head, payload])
}

test('messages are counted the same wherever the stream is cut', () => {
  const push = `{"push":{"channel":"room:1","pub":{"data":"${'x'.repeat(200)}"}}}`
  const stream = Buffer.concat([
    frame(push),
    frame('{}'),
    frame(`${push}\n${push}\n${push}`),
    frame(`{}\n${push}\n{}\n${push}`),
    frame('42["a"]'),
    frame('2'),
    frame('{"id":2,"subscribe":{}}\n{"id":3,"publish":{}}'),
  ])
  for (let cut = 0; cut <= stream.length; cut += 1) {
    const counter = new FrameCounter()
    const controls: string[] = []
    const hear = (text: string): void => void controls.push(text)
    const counted = counter.count(stream.subarray(0, cut), hear) + counter.count(stream.subarray(cut), hear)
    expect(counted).toBe(7)
    expect(controls).toEqual(['{}', '{}', '{}', '2', '{"id":2,"subscribe":{}}', '{"id":3,"publish":{}}'])
  }
})

test('what a client of the bench sends is masked, and its text is the same', () => {
  for (const text of ['{}', 'x'.repeat(300)]) {
    const sent = maskedText(text)
    expect((sent[1] ?? 0) & 0x80).toBe(0x80)
    expect(sent.subarray(sent.length - text.length).toString()).toBe(text)
  }
})

test('variants take turns: each follows each, and stands at each place, equally often', async () => {
  const order: string[] = []
  const found = await interleave(['a', 'b', 'c'], 6, async (variant, round) => {
    order.push(variant)
    return round
  })
  expect(order.join('')).toBe('abccbabcaacbcabbac')
  expect(found).toEqual({ a: [0, 1, 2, 3, 4, 5], b: [0, 1, 2, 3, 4, 5], c: [0, 1, 2, 3, 4, 5] })
})

test('a ratio is the median of the ratios of the rounds', () => {
  expect(median([3, 1, 2])).toBe(2)
  expect(median([4, 1, 2, 3])).toBe(2.5)
  expect(ratioOf([2, 9, 4], [1, 3, 4], (value) => value)).toEqual({ median: 2, lowest: 1, highest: 3 })
})

test('an interval holds the truth as often as it says, and narrows as rounds are added', () => {
  let state = 7
  const uniform = (): number => (state = (state * 16_807) % 2_147_483_647) / 2_147_483_647
  const noise = (): number => Array.from({ length: 12 }, uniform).reduce((sum, value) => sum + value, -6)
  const setsOf = (sets: number, rounds: number, spreadOfSets: number): number[][] =>
    Array.from({ length: sets }, () => {
      const common = 0.97 + spreadOfSets * noise()
      return Array.from({ length: rounds }, () => common + 0.1 * noise())
    })
  const trials = 40
  const held = (spreadOfSets: number): number =>
    Array.from({ length: trials }, () => intervalOf(setsOf(6, 10, spreadOfSets))).filter(
      ({ low, high }) => low <= 0.97 && 0.97 <= high,
    ).length / trials
  expect(held(0)).toBeGreaterThan(0.9)
  // An interval over rounds alone would take the offset of a process, which all of its rounds share, for the truth.
  expect(held(0.05)).toBeGreaterThan(0.85)
  const width = (sets: number): number => {
    const { low, high } = intervalOf(setsOf(sets, 10, 0))
    return high - low
  }
  expect(width(24)).toBeLessThan(width(3))
  expect(intervalOf([[1, 2, 3]])).toEqual(intervalOf([[1, 2, 3]]))
})

test('an operation that stalls delays neither the schedule nor the time that others are charged from', async () => {
  const intended: number[] = []
  await openLoop({ perSecond: 1_000, seconds: 0.02 }, async (n, intendedUs) => {
    intended.push(intendedUs)
    if (n === 0) await new Promise((resolve) => setTimeout(resolve, 30))
  })
  expect(intended).toHaveLength(20)
  const [first = 0] = intended
  for (const [n, us] of intended.entries()) expect(us - first).toBeCloseTo(n * 1_000)
})

test('a warm-up is as many operations as it says, whatever the workers', async () => {
  const seen: number[] = []
  await countedLoop({ workers: 7, operations: 20 }, async (n) => void seen.push(n))
  expect(seen.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 20 }, (_, n) => n))
})

test('throughput leaves out what ended before the measured time and after it', async () => {
  const stepMs = 60
  const { perSecond, operations, latency } = await closedLoop(
    { workers: 3, seconds: 0.2 },
    () => new Promise((resolve) => setTimeout(resolve, stepMs)),
  )
  // Counts the operations that ended within 0.2 s, out of those that began within 0.3 s.
  expect(latency.count).toBe(Math.round(perSecond * 0.2))
  expect(operations).toBeGreaterThan(latency.count)
})

test('percentiles are in milliseconds', () => {
  const latencies = new Latencies()
  for (let us = 1_000; us <= 100_000; us += 1_000) latencies.record(us)
  const { count, p50, p99, max } = latencies.percentiles
  expect(count).toBe(100)
  expect(Math.round(p50)).toBe(50)
  expect(Math.round(p99)).toBe(99)
  expect(Math.round(max)).toBe(100)
})

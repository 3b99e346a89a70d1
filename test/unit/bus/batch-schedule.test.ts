import fc from 'fast-check'
import { expect, it } from 'vitest'
import { BatchSchedule } from '../../../src/bus/batch-schedule.ts'

const interval = { leastMs: 10, mostMs: 20, stream: 5 }

it('lets what comes alone leave at once, and what follows when the batch before is old enough', () => {
  const schedule = new BatchSchedule(interval)
  expect(schedule.waitMs(0)).toBe(0)
  schedule.left(0, 1)
  expect([3, 9, 10, 11].map((now) => schedule.waitMs(now))).toEqual([7, 1, 0, 0])
  schedule.left(10, 5)
  expect([10, 29, 30].map((now) => schedule.waitMs(now))).toEqual([20, 1, 0])
})

it('holds no event for longer than the longest span, whatever comes, and makes a stream into few batches', () => {
  const gaps = fc.array(fc.double({ min: 0, max: 30, noNaN: true }), { minLength: 1, maxLength: 500 })
  fc.assert(
    fc.property(gaps, (spans) => {
      const schedule = new BatchSchedule(interval)
      const batches: number[] = []
      let now = 0
      let waiting: { readonly since: number; readonly leavesAt: number; events: number } | undefined
      const leave = (): void => {
        if (waiting === undefined) return
        expect(waiting.leavesAt - waiting.since).toBeLessThanOrEqual(interval.mostMs)
        schedule.left(waiting.leavesAt, waiting.events)
        batches.push(waiting.leavesAt)
        waiting = undefined
      }
      for (const span of spans) {
        now += span
        if (waiting !== undefined && waiting.leavesAt <= now) leave()
        waiting ??= { since: now, leavesAt: now + schedule.waitMs(now), events: 0 }
        waiting.events += 1
      }
      leave()
      const spansBetween = batches.slice(1).map((at, index) => at - (batches[index] ?? 0))
      expect(Math.min(interval.leastMs, ...spansBetween)).toBeGreaterThan(interval.leastMs - 1e-6)
    }),
  )
})

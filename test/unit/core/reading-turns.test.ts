import { expect, test } from 'vitest'
import { Pace } from '../../../src/gateway/crowd/pace.ts'
import { Strain } from '../../../src/gateway/crowd/strain.ts'
import { ReadingTurns, type Reader } from '../../../src/gateway/crowd/reading-turns.ts'
import { ManualClock } from '../../support/manual-clock.ts'

const perSecond = 100

/** Connections of one user that have always more to read, and how much of each was read. */
function createReaders(count: number) {
  const clock = new ManualClock()
  const pace = new Pace(new Strain(clock, perSecond), clock.monotonic())
  const turns = new ReadingTurns(pace, clock)
  const read = Array.from({ length: count }, () => 0)
  const readers = read.map((_, index): Reader => ({
    readOn() {
      do read[index] = (read[index] ?? 0) + 1
      while (pace.charge(1, clock.monotonic()) <= 0)
      turns.wait(this)
    },
  }))
  for (const reader of readers) turns.wait(reader)
  return { clock, read }
}

test.each([1, 7])('connections of a user (%i) that send for ever keep one timer', (count) => {
  const { clock } = createReaders(count)
  for (let second = 0; second < 20; second++) {
    clock.advance(1_000)
    expect(clock.timerCount).toBe(1)
  }
})

test('connections that wait are read in turn, all together as fast as the pace allows', () => {
  const { clock, read } = createReaders(5)
  clock.advance(10_000)
  const before = read.reduce((sum, each) => sum + each, 0)
  clock.advance(20_000)
  const after = read.reduce((sum, each) => sum + each, 0)
  expect((after - before) / (20 * perSecond)).toBeGreaterThan(0.9)
  expect((after - before) / (20 * perSecond)).toBeLessThan(1.1)
  expect(Math.min(...read)).toBeGreaterThan(0.5 * Math.max(...read))
})

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { followsOn, OffsetSequencer } from '../../../src/core/index.ts'

const item = (offset: number) => ({ offset })
const range = (from: number, to: number): number[] =>
  Array.from({ length: Math.max(0, to - from + 1) }, (_, index) => from + index)

/** A position, and offsets around it in any order: old ones, some twice, some missing. */
const arrivals = fc.record({
  position: fc.nat(1_000),
  steps: fc.array(fc.integer({ min: -3, max: 20 }), { maxLength: 60 }),
})

describe('an offset sequencer', () => {
  test('lets each offset out once and in order, up to the first that is missing', () => {
    fc.assert(
      fc.property(arrivals, ({ position, steps }) => {
        const sequencer = new OffsetSequencer(position)
        const offsets = steps.map((step) => position + step)
        const out = offsets.flatMap((offset) => sequencer.accept(item(offset))).map(({ offset }) => offset)

        let top = position
        while (offsets.includes(top + 1)) top += 1
        expect(out).toEqual(range(position + 1, top))
        expect(sequencer.position).toBe(top)
        expect(sequencer.hasGap).toBe(Math.max(position, ...offsets) > top)
      }),
    )
  })

  test('gives back the items themselves, the first copy of each', () => {
    const sequencer = new OffsetSequencer<{ offset: number; copy: string }>(0)
    expect(sequencer.accept({ offset: 2, copy: 'first' })).toEqual([])
    expect(sequencer.accept({ offset: 1, copy: 'first' })).toEqual([
      { offset: 1, copy: 'first' },
      { offset: 2, copy: 'first' },
    ])
    expect(sequencer.accept({ offset: 2, copy: 'second' })).toEqual([])
  })

  test('knows of a gap from the head alone, until everything up to it went out', () => {
    fc.assert(
      fc.property(fc.nat(100), fc.integer({ min: 1, max: 30 }), (position, missing) => {
        const sequencer = new OffsetSequencer(position)
        sequencer.expect(position + missing)
        for (const offset of range(position + 1, position + missing)) {
          expect(sequencer.hasGap).toBe(true)
          sequencer.accept(item(offset))
        }
        expect(sequencer.hasGap).toBe(false)
      }),
    )
  })

  test('started over at the head, goes on behind it without a hole', () => {
    const everything = fc.tuple(arrivals, fc.nat(25), fc.shuffledSubarray(range(1, 25), { minLength: 25 }))
    fc.assert(
      fc.property(everything, ([{ position, steps }, further, later]) => {
        const sequencer = new OffsetSequencer(position)
        for (const step of steps) sequencer.accept(item(position + step))
        const restartAt = sequencer.position + further
        sequencer.restart(restartAt)
        expect(sequencer.position).toBe(restartAt)

        const out = later.flatMap((step) => sequencer.accept(item(restartAt + step)))
        expect(out.map(({ offset }) => offset).slice(0, 25)).toEqual(range(restartAt + 1, restartAt + 25))
      }),
    )
  })
})

test.each([
  [4, [], true],
  [4, [5], true],
  [4, [5, 6, 7], true],
  [4, [6, 7], false],
  [4, [5, 7], false],
  [4, [5, 5], false],
  [4, [4, 5], false],
])('after %i, %j follows on: %s', (position, offsets, expected) => {
  expect(followsOn(position, offsets.map(item))).toBe(expected)
})

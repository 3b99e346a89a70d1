import { expect, test } from 'vitest'
import { compare, type Comparison } from '../../../bench/compare/compare.ts'
import type { ComparedLane, Figure, Measured } from '../../../bench/compare/compared-lane.ts'
import { compared, hasFallen, type Side } from '../../../bench/compare/verdict.ts'
import type { Build } from '../../../bench/harness/built.ts'
import type { BenchPostgres } from '../../../bench/harness/database.ts'

const speed: Figure = { name: 'speed', better: 'higher' }
const cost: Figure = { name: 'cost', better: 'lower' }

const build = (id: Side): Build => ({ id, children: '', library: '' })
const builds = { base: build('base'), now: build('now') }

const turns = (figure: Figure, values: readonly number[]): readonly Measured[] =>
  values.map((value) => ({ [figure.name]: value }))

function sets(figure: Figure, base: readonly number[], now: readonly number[]) {
  return [{ base: turns(figure, base), now: turns(figure, now) }]
}

/** Runner of six turns around a value, within one percent of it. */
const around = (value: number): readonly number[] =>
  [0.99, 1.01, 1, 0.995, 1.005, 1].map((factor) => factor * value)

test('a ratio above 1 is in favour of the working tree, for a speed and for a cost', () => {
  expect(compared(speed, sets(speed, [100, 100, 100], [120, 110, 130])).ratio).toBeCloseTo(1.2)
  expect(compared(cost, sets(cost, [120, 110, 130], [100, 100, 100])).ratio).toBeCloseTo(1.2)
})

test('a figure has fallen when its ratio is below 0.97 and its interval excludes 1', () => {
  expect(hasFallen(compared(speed, sets(speed, around(100), around(90))))).toBe(true)
  expect(hasFallen(compared(cost, sets(cost, around(90), around(100))))).toBe(true)
  // Two percent are within what is allowed, however sure they are.
  expect(hasFallen(compared(speed, sets(speed, around(100), around(98))))).toBe(false)
  // Chance explains it.
  expect(hasFallen(compared(speed, sets(speed, around(100), [60, 140, 92, 90, 130, 94])))).toBe(false)
  expect(hasFallen(compared(speed, sets(speed, around(100), around(110))))).toBe(false)
})

test('fewer rounds than have an interval say nothing, and neither does what could not be measured', () => {
  const few = compared(speed, sets(speed, [100, 100, 100, 100, 100], [50, 50, 50, 50, 50]))
  expect(few.high).toBe(Infinity)
  expect(hasFallen(few)).toBe(false)
  expect(hasFallen(compared(speed, sets(speed, around(100), around(Number.NaN))))).toBe(false)
})

interface Fake {
  readonly lane: ComparedLane
  /** Sides in the order of their turns, and how many runners were open at most. */
  readonly order: Side[]
  readonly open: { now: number; most: number }
}

/** `speedOf` says what a side measures in its n-th turn of all. */
function fakeLane(speedOf: (side: Side, n: number) => number, exact?: true): Fake {
  const order: Side[] = []
  const open = { now: 0, most: 0 }
  const lane: ComparedLane = {
    name: 'fake',
    about: '',
    figures: [speed],
    ...(exact === undefined ? {} : { exact }),
    async start({ build: { id } }) {
      open.most = Math.max(open.most, (open.now += 1))
      return {
        turn: async () => ({ speed: speedOf(id as Side, order.push(id as Side)) }),
        close: async () => void (open.now -= 1),
      }
    },
  }
  return { lane, order, open }
}

async function run(fake: Fake, rounds: number): Promise<{ isFine: boolean; said: readonly string[] }> {
  const said: string[] = []
  const comparison: Comparison = {
    builds,
    lanes: [fake.lane],
    rounds,
    seconds: 0,
    postgres: async () => ({}) as BenchPostgres,
    say: (line) => void said.push(line),
  }
  return { isFine: await compare(comparison), said }
}

test('the builds take turns, in sets of rounds that have processes of their own', async () => {
  const fake = fakeLane(() => 100)
  const { isFine } = await run(fake, 7)
  expect(isFine).toBe(true)
  // Five rounds, then two; whichever was first in a round is last in the next one.
  expect(fake.order.map((side) => side[0]).join('')).toBe('bnnbnbbnbnbnnb')
  expect(fake.open).toEqual({ now: 0, most: 2 })
})

test('what has fallen is measured again, named, and makes the comparison fail', async () => {
  const { isFine, said } = await run(
    fakeLane((side) => (side === 'base' ? 100 : 90)),
    6,
  )
  expect(isFine).toBe(false)
  expect(said).toContainEqual(expect.stringMatching(/^fake: speed +100 +90 +0\.900 × +0\.900 to 0\.900/))
  expect(said).toContainEqual(expect.stringMatching(/^fake, again: speed /))
  expect(said.at(-1)).toBe('FELL BELOW 0.97: fake, speed: 0.900 × (0.900 to 0.900)')
})

test('a fall that a second measurement does not show is none', async () => {
  const ofFirst = 12
  const { isFine, said } = await run(
    fakeLane((side, n) => (side === 'base' || n > ofFirst ? 100 : 90)),
    6,
  )
  expect(isFine).toBe(true)
  expect(said).toContainEqual(expect.stringMatching(/^fake, again: speed +100 +100 +1\.000 ×/))
})

test('what every turn measures alike is measured once, and its fall stands', async () => {
  const fake = fakeLane((side) => (side === 'base' ? 100 : 90), true)
  const { isFine, said } = await run(fake, 20)
  expect(fake.order).toEqual(['base', 'now'])
  expect(isFine).toBe(false)
  expect(said.at(-1)).toMatch(/^FELL BELOW 0\.97: fake, speed/)
})

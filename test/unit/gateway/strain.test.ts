import { expect, test } from 'vitest'
import { Pace } from '../../../src/gateway/crowd/pace.ts'
import { Strain } from '../../../src/gateway/crowd/strain.ts'
import { ManualClock } from '../../support/manual-clock.ts'
import { WorkClock } from '../../support/work-clock.ts'

const most = 1_000

/** Lets seconds pass, while users of these rates are compared every second as the gateway does. */
function pass(
  { clock, strain }: { clock: WorkClock; strain: Strain },
  seconds: number,
  busyShare: number,
  rates: readonly number[],
): void {
  for (let tenth = 0; tenth < 10 * seconds; tenth += 1) {
    clock.pass(100, busyShare)
    strain.perSecondAt(clock.monotonic())
    if (tenth % 10 === 9) strain.compare(clock.monotonic(), () => [...rates])
  }
}

function create() {
  const clock = new WorkClock()
  return {
    clock,
    strain: new Strain(clock, most),
    paceOf: (strain: Strain) => new Pace(strain, clock.monotonic()),
  }
}

/** Ten users who ask now and then, and two who always do. */
const mixed = [...Array.from({ length: 10 }, () => 1), 900, 900]

test('whoever sends far more than others is read more slowly while the loop has no time, and as fast as before once it has', () => {
  const world = create()
  const { clock, strain } = world
  pass(world, 60, 0.4, mixed)
  expect(strain.perSecondAt(clock.monotonic())).toBe(most)
  pass(world, 5, 1, mixed)
  expect(strain.perSecondAt(clock.monotonic())).toBeLessThan(30)
  pass(world, 60, 1, mixed)
  // Eight times what others send is left to everybody.
  expect(strain.perSecondAt(clock.monotonic())).toBe(8)
  pass(world, 15, 0.2, mixed)
  expect(strain.perSecondAt(clock.monotonic())).toBe(most)
})

test('where all users are alike, none of them is read more slowly, however busy the loop is', () => {
  const world = create()
  pass(world, 60, 1, [150, 170, 200, 180])
  expect(world.strain.perSecondAt(world.clock.monotonic())).toBe(most)
})

test('a loop of which nothing is known is never busy', () => {
  const clock = new ManualClock()
  const strain = new Strain(clock, most)
  for (let second = 0; second < 60; second += 1) {
    clock.advance(1_000)
    strain.compare(clock.monotonic(), () => [1, 1, 1, 900])
  }
  expect(strain.perSecondAt(clock.monotonic())).toBe(most)
})

test('a pace follows, what was saved up goes, and a page may still send as much at once as it needs', () => {
  const world = create()
  const { clock, strain, paceOf } = world
  const saved = paceOf(strain)
  expect(saved.charge(5 * most, clock.monotonic())).toBe(0)
  clock.pass(5_000, 0)
  pass(world, 60, 1, mixed)
  expect(saved.isRestored(clock.monotonic())).toBe(true)
  expect(saved.charge(256, clock.monotonic())).toBe(0)
  // The next one may come in an eighth of a second.
  expect(saved.charge(1, clock.monotonic())).toBe(125)
})

test('the rate of a user is what they ask for themselves, and is forgotten when they ask for nothing', () => {
  const { clock, strain, paceOf } = create()
  const pace = paceOf(strain)
  for (let second = 0; second < 60; second += 1) {
    clock.advance(1_000)
    pace.noteAsked(20, clock.monotonic())
    pace.charge(100, clock.monotonic())
  }
  expect(pace.rateAt(clock.monotonic())).toBeGreaterThan(18)
  expect(pace.rateAt(clock.monotonic())).toBeLessThan(23)
  clock.advance(60_000)
  expect(pace.rateAt(clock.monotonic())).toBeLessThan(0.1)
})

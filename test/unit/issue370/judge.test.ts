// The judge of the issue370 suite: the faults that it names, from outside observations alone.
import { expect, test } from 'vitest'
import { toFigures } from '../../issue370/figures.ts'
import { faultsOf, judge, type Facts, type Sighting } from '../../issue370/judge.ts'

const measure = { toDatabaseMs: (ms: number) => ms, errorMs: 0.5, thresholdMs: 100 }

const sighting = (receivedAt: number, readable = true): Sighting => ({
  channel: 'conversation:1',
  type: 'message.created',
  operationId: 'one',
  data: {},
  offset: 1,
  receivedAt,
  readable,
})

const verdictOf = (over: Partial<Facts> = {}) =>
  judge(
    {
      operationId: 'one',
      name: 'send_message',
      user: 'ada',
      outcome: 'committed',
      committedAt: 1_000,
      events: 1,
      sightings: [sighting(1_003)],
      isTold: false,
      ...over,
    },
    measure,
  )

const rolledBack = { outcome: 'rolled_back', committedAt: undefined, sightings: [] } as const

test('finds nothing where a commit was shown afterwards, and a rollback was reported', () => {
  expect(faultsOf(verdictOf())).toEqual([])
  expect(verdictOf()).toMatchObject({ healthy: true, gaps: [3] })
  expect(faultsOf(verdictOf({ ...rolledBack, isTold: true }))).toEqual([])
  // The event comes early by no more than the two clocks may differ.
  expect(verdictOf({ sightings: [sighting(999.6)] }).healthy).toBe(true)
})

test.each([
  ['before the commit, by the clock', { sightings: [sighting(999)] }, /^websocket_before_commit/],
  ['while no row could be read', { sightings: [sighting(1_003, false)] }, /^websocket_before_commit/],
  [
    'and then rolled back',
    { ...rolledBack, isTold: true, sightings: [sighting(1)] },
    /^websocket_before_commit/,
  ],
  ['rolled back without a word', rolledBack, /^missing_rollback_notification/],
  ['answered as committed, and not there', { committedAt: undefined }, /^the caller heard another outcome/],
  [
    'answered as rolled back, and there',
    { outcome: 'rolled_back', sightings: [], isTold: true },
    /^the caller/,
  ],
  ['lost', { sightings: [] }, /lost$/],
  ['twice', { sightings: [sighting(1_003), sighting(1_004)] }, /twice$/],
] as const)('finds an operation that was %s', (_, over, fault) => {
  const verdict = verdictOf(over)
  expect(faultsOf(verdict)).toEqual([expect.stringMatching(fault)])
  expect(verdict.healthy).toBe(false)
})

test('a late event is unhealthy, and no violation', () => {
  const late = verdictOf({ sightings: [sighting(1_101)] })
  expect(late.healthy).toBe(false)
  expect(faultsOf(late)).toEqual([])
})

test('adds up: an early event cannot offset a late one, and what nobody asked for is a violation', () => {
  const early = verdictOf({ sightings: [sighting(990)] })
  const figures = toFigures([verdictOf({ sightings: [sighting(1_010)] }), early, verdictOf(rolledBack)], 2)
  expect(figures).toMatchObject({
    operations: 3,
    unhealthy: 2,
    violations: {
      websocket_before_commit: 1,
      missing_rollback_notification: 1,
      transaction_boundary_violation: 2,
    },
    gaps: { count: 2, average: 10, p99: 10, smallest: -10 },
    rollbacks: 1,
    told: 0,
  })
  expect(figures.score).toBeCloseTo(1 / 3)
})

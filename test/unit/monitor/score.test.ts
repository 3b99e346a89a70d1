// The score over windows, the alert's hysteresis, and the sample.
import { randomUUID } from 'node:crypto'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { nextAlertState } from '../../../src/monitor/alert/score-alert.ts'
import { History } from '../../../src/monitor/store/history.ts'
import { defaultThresholds } from '../../../src/monitor/model/kinds.ts'
import { toWindow } from '../../../src/monitor/monitor-options.ts'
import { isInSample } from '../../../src/monitor/measure/sample.ts'
import { mostBreaches, OpenRollUp, type RollUp } from '../../../src/monitor/measure/open-roll-up.ts'
import { newIds } from '../../support/health.ts'

const minuteMs = 60_000
const gauges = { connections: 0, openOperations: 0, bus: 'up' }

function rollUp(atMs: number, fill: (open: OpenRollUp) => void, node = 'a'): RollUp {
  const open = new OpenRollUp()
  fill(open)
  return open.toRollUp({ id: randomUUID(), node, atMs, gauges })
}

test('hysteresis: fires below 0.8, recovers above 0.85, and stays between', () => {
  const bounds = { alertBelow: 0.8, recoverAbove: 0.85 }
  let state = nextAlertState('ok', 1, bounds)
  const states = [0.81, 0.8, 0.7999, 0.81, 0.84, 0.85, 0.8501, 0.81, 0.79].map(
    (score) => (state = nextAlertState(state, score, bounds)),
  )
  expect(states).toEqual(['ok', 'ok', 'firing', 'firing', 'firing', 'firing', 'ok', 'ok', 'firing'])
})

test('an operation that several nodes and minutes name is unhealthy once', () => {
  const history = new History(60)
  const [id = '', other = ''] = newIds(2)
  for (const node of ['a', 'b', 'c']) {
    for (const minute of [100, 103, 101]) {
      history.add(
        rollUp(
          minute * minuteMs,
          (open) => {
            open.operations = 10
            open.breach(id)
          },
          node,
        ),
      )
    }
  }
  const live = new OpenRollUp()
  live.operations = 10
  live.breach(id)
  live.breach(other)
  const now = 103 * minuteMs + 5
  expect(history.score(60, now, live)).toMatchObject({ operations: 100, unhealthy: 2, overall: 0.98 })
  expect(history.score(1, now, live)).toMatchObject({ operations: 40, unhealthy: 2 })
  expect(history.points(3, now, defaultThresholds).map(({ unhealthy }) => unhealthy)).toEqual([1, 1, 0, 1])
  history.trim(now + 120 * minuteMs)
  expect(history.score(60, now + 120 * minuteMs, new OpenRollUp())).toMatchObject({
    operations: 0,
    overall: 1,
  })
})

test('the distinct unhealthy operations of any window are those of a plain set', () => {
  const added = fc.record({
    minute: fc.integer({ min: 0, max: 9 }),
    ids: fc.array(fc.integer({ max: 8, min: 0 })),
  })
  fc.assert(
    fc.property(fc.array(added, { maxLength: 30 }), fc.integer({ min: 1, max: 9 }), (adds, window) => {
      const history = new History(60)
      const expected = new Set<number>()
      for (const { minute, ids } of adds) {
        history.add(rollUp(minute * minuteMs, (open) => new Set(ids).forEach((id) => open.breach(`${id}`))))
        if (minute >= 9 - window) for (const id of ids) expected.add(id)
      }
      expect(history.score(window, 9 * minuteMs, new OpenRollUp()).unhealthy).toBe(expected.size)
    }),
  )
})

test('the score of a kind is the share of its gaps from 0 to the threshold', () => {
  const live = new OpenRollUp()
  for (const gapMs of [0, 100, 100.1, -0.1]) live.gap('websocket_db_gap').record(gapMs, 100)
  const { kinds, overall } = new History(60).score(60, 0, live)
  expect(kinds).toMatchObject({ websocket_db_gap: 0.5, client_ack_gap: null })
  expect(overall).toBe(1)
})

test('what is unhealthy without an operation that ended is no reason to be content', () => {
  const live = new OpenRollUp()
  live.breach('phantom')
  expect(new History(60).score(60, 0, live)).toMatchObject({ overall: 0, operations: 0, unhealthy: 1 })
})

test('a roll-up names 200 unhealthy operations and counts the others', () => {
  const flood = rollUp(0, (open) => newIds(1_000).forEach((id) => open.breach(id)))
  expect([flood.breaches.length, flood.breachesBeyond]).toEqual([mostBreaches, 800])
  const history = new History(60)
  history.add(flood)
  expect(history.score(60, 0, new OpenRollUp()).unhealthy).toBe(1_000)
})

test('points of a long window are at most 360', () => {
  expect(new History(1_440).points(1_440, 1e12, defaultThresholds).length).toBeLessThanOrEqual(360)
})

test('windows are whole minutes within bounds, whatever is asked for', () => {
  const bounds = { most: 60, otherwise: 30 }
  expect([undefined, NaN, 0, -5, 0.5, 1.2, 61, Infinity].map((minutes) => toWindow(minutes, bounds))).toEqual(
    [30, 30, 1, 1, 1, 2, 60, 60],
  )
})

test('a sample is the share that was asked for, and the same wherever it is taken', () => {
  const ids = newIds(64_000)
  const first = ids.filter((id) => isInSample(id, 1 / 16))
  expect(first.length).toBeGreaterThan(3_600)
  expect(first.length).toBeLessThan(4_400)
  expect(ids.filter((id) => isInSample(id, 1 / 16))).toEqual(first)
  expect(ids.every((id) => isInSample(id, 1))).toBe(true)
  expect(ids.some((id) => isInSample(id, 0))).toBe(false)
})

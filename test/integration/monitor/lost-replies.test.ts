// Statements of the health monitor that take effect and whose reply is lost: told all the same, and once.
import { afterEach, beforeEach, expect, test } from 'vitest'
import { LockstepError, type Queryable } from '../../../src/core/index.ts'
import type { HealthMonitor, HealthSink, Violation } from '../../../src/monitor/index.ts'
import { createHealthWorld, endReport, layerReport, newIds, type HealthWorld } from '../../support/health.ts'
import { eventually } from '../../support/eventually.ts'

let world: HealthWorld

beforeEach(async () => {
  world = await createHealthWorld()
})
afterEach(() => world.close())

const until = (check: () => Promise<void> | void): Promise<void> => eventually(check, 15_000)

/** Operations whose events left the sockets half a second before, or right after their end. */
function run(monitor: HealthMonitor, ids: readonly string[], { early }: { readonly early: boolean }): void {
  for (const operationId of ids) {
    monitor.probe.reached(layerReport({ operationId, at: early ? 500 : 1_001 }))
    monitor.probe.ended(endReport({ operationId, endedAt: 1_000, mode: 'observe' }))
  }
}

/** A database whose reply to the first statement that matches is lost, once that has taken effect. */
function losingReply(own: Queryable, pattern: RegExp): Queryable & { readonly lost: () => boolean } {
  let isLost = false
  return {
    lost: () => isLost,
    async query(statement) {
      const result = await own.query(statement)
      if (isLost || !pattern.test(statement.text)) return result as never
      isLost = true
      throw new LockstepError('LS_CONNECTION_LOST')
    },
  }
}

test('violations whose INSERT lost its reply are counted and reported once', async () => {
  const own = losingReply(world.database.own, /insert into \S*health_violations/)
  const told: Violation[] = []
  const sink: HealthSink = { operation() {}, gap() {}, violation: (violation) => void told.push(violation) }
  const monitor = world.monitor({ own, sinks: [sink] })
  const ids = newIds(3)
  run(monitor, newIds(97), { early: false })
  run(monitor, ids, { early: true })
  await until(() => expect(told).toHaveLength(3))
  expect(own.lost()).toBe(true)
  expect(told.map(({ operationId }) => operationId).toSorted()).toEqual(ids.toSorted())
  expect((await monitor.summary()).violations).toMatchObject({ websocket_before_commit: 3 })
  // A second node finds the same violations, which are known by now.
  const other = world.monitor({ sinks: [sink] })
  run(other, ids, { early: true })
  run(other, newIds(1), { early: true })
  await until(() => expect(told).toHaveLength(4))
  expect(await world.rows('select from lockstep.health_violations')).toHaveLength(4)
})

test('an alert whose move lost its reply is sent once, by the node that moved it', async () => {
  const own = losingReply(world.database.own, /insert into \S*health_alerts/)
  const [first, second] = [world.monitor({ own }), world.monitor({ alertBelow: 0 })]
  run(first, newIds(10), { early: true })
  await until(() => expect(first.alerts).toHaveLength(1))
  expect(own.lost()).toBe(true)
  expect(first.alerts[0]).toMatchObject({ state: 'firing', node: first.node, score: 0 })
  expect(Number.isNaN(Date.parse(first.alerts[0]?.at ?? ''))).toBe(false)
  run(first, newIds(1_000), { early: false })
  await until(() => expect([...first.alerts, ...second.alerts]).toHaveLength(2))
  expect([...first.alerts, ...second.alerts].map(({ state }) => state)).toEqual(['firing', 'recovered'])
})

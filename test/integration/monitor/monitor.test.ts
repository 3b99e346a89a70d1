// The health monitor against a real database: what it finds, what it counts, and what survives.
import { readFileSync } from 'node:fs'
import { PGlite } from '@electric-sql/pglite'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import {
  LockstepError,
  newOperationId,
  systemClock,
  type Clock,
  type Queryable,
} from '../../../src/core/index.ts'
import { HealthMonitor, type HealthSink, type Violation } from '../../../src/monitor/index.ts'
import { fromPglite } from '../../../src/postgres/index.ts'
import { createHealthWorld, endReport, layerReport, newIds, type HealthWorld } from '../../support/health.ts'
import { eventually } from '../../support/eventually.ts'

const docs = readFileSync(new URL('../../../docs/reference/health.md', import.meta.url), 'utf8')
const [scoreSql = '', kindsSql = ''] = [...docs.matchAll(/```sql\n(.*?)```/gs)].map(([, sql = '']) => sql)

let world: HealthWorld

beforeEach(async () => {
  world = await createHealthWorld()
})
afterEach(() => world.close())

type Monitor = ReturnType<HealthWorld['monitor']>

const violationsOf = async (monitor: HealthMonitor): Promise<Record<string, number>> =>
  (await monitor.summary()).violations

const until = (check: () => Promise<void> | void): Promise<void> => eventually(check, 15_000)

/** Operations that ran on a node and whose events left its sockets when they should. */
function runWell(monitor: Monitor, count: number): void {
  for (const operationId of newIds(count)) {
    const ended = endReport({ operationId })
    monitor.probe.ended(ended)
    monitor.probe.reached(layerReport({ operationId, at: ended.endedAt + 1 }))
  }
}

function runEarly(monitor: Monitor, ids: readonly string[]): void {
  for (const operationId of ids) {
    monitor.probe.reached(layerReport({ operationId, at: 500 }))
    monitor.probe.ended(endReport({ operationId, endedAt: 1_000, mode: 'observe' }))
  }
}

async function storedIds(kind: string): Promise<string[]> {
  const rows = await world.rows<{ operation_id: string }>(
    'select operation_id from lockstep.health_violations where kind = $1 order by 1',
    [kind],
  )
  return rows.map((row) => row.operation_id)
}

describe('1,000 planted', () => {
  test('events before the commit, on the node that ran it', async () => {
    const monitor = world.monitor()
    const ids = newIds(1_000)
    runWell(monitor, 1_000)
    runEarly(monitor, ids)
    await until(async () =>
      expect(await violationsOf(monitor)).toMatchObject({ websocket_before_commit: 1_000 }),
    )
    expect(await storedIds('websocket_before_commit')).toEqual(ids.toSorted())
    expect(await monitor.score()).toMatchObject({ operations: 2_000, unhealthy: 1_000, overall: 0.5 })
  })

  test('events before the commit, on another node', async () => {
    const monitor = world.monitor()
    const [early, good] = [newIds(1_000), newIds(1_000)]
    const at = performance.now()
    for (const operationId of early) monitor.probe.reached(layerReport({ operationId, at: at - 5_000 }))
    await world.operations([...early, ...good])
    for (const operationId of good) monitor.probe.reached(layerReport({ operationId }))
    await until(async () =>
      expect(await violationsOf(monitor)).toMatchObject({ websocket_before_commit: 1_000 }),
    )
    await until(async () => expect((await monitor.summary()).gaps.websocket_db_gap.count).toBe(2_000))
    expect(await storedIds('websocket_before_commit')).toEqual(early.toSorted())
  })

  test('phantoms: events of no operation, of a rolled back one, and that the log does not hold', async () => {
    const monitor = world.monitor()
    const [unknown, rolledBack, notInLog, good] = [newIds(400), newIds(300), newIds(300), newIds(500)]
    await world.operations(rolledBack, { state: 'rolled_back', notice: false })
    await world.operations([...notInLog, ...good])
    const head = await world.events('room:1', good)
    for (const operationId of unknown) {
      monitor.probe.reached(layerReport({ operationId, channel: 'room:9', offset: 1 }))
    }
    for (const operationId of rolledBack) monitor.probe.reached(layerReport({ operationId }))
    for (const [place, operationId] of notInLog.entries()) {
      monitor.probe.reached(layerReport({ operationId, channel: 'room:1', offset: place + 1 }))
    }
    for (const [place, operationId] of good.entries()) {
      const offset = head - good.length + place + 1
      monitor.probe.reached(layerReport({ operationId, channel: 'room:1', offset }))
    }
    // Reports of all operations but the unknown have a gap: once these are counted, no more is found.
    await until(async () => expect((await monitor.summary()).gaps.websocket_db_gap.count).toBe(1_100))
    await monitor.close()
    expect(await violationsOf(monitor)).toMatchObject({ transaction_boundary_violation: 1_000 })
    expect(await storedIds('transaction_boundary_violation')).toEqual(
      [...unknown, ...rolledBack, ...notInLog].toSorted(),
    )
  })

  test('missing notices, and notices whose row was deleted, among those that stand', async () => {
    const [missing, deleted, told] = [newIds(500), newIds(500), newIds(1_500)]
    await world.operations([...missing, ...deleted, ...told], { state: 'rolled_back' })
    // Rollbacks without a notice to miss: in mode off, and of a closed id.
    await world.operations(newIds(10), { state: 'rolled_back', notice: false })
    await world.operations(newIds(10), { state: 'rolled_back', name: '' })
    await world.events('user:ada', [...told, ...deleted], 'transaction_rolled_back')
    await world.events('user:ada', missing, 'something_else')
    await world.rows('delete from lockstep.events where operation_id = any($1::uuid[])', [deleted])
    const monitor = world.monitor()
    await until(async () =>
      expect(await violationsOf(monitor)).toMatchObject({ missing_rollback_notification: 1_000 }),
    )
    expect(await storedIds('missing_rollback_notification')).toEqual([...missing, ...deleted].toSorted())
    const { rollbacks } = await monitor.dashboard()
    expect(rollbacks).toMatchObject({ told: 1_500, untold: 1_000 })
  })

  test('exposures, at every level that is on', async () => {
    const monitor = world.monitor({ level: 'counters' })
    const ids = newIds(1_000)
    for (const operationId of ids) {
      monitor.probe.exposed({ operationId, channel: 'user:bob', userId: 'eve', at: performance.now() })
    }
    await until(async () => expect(await violationsOf(monitor)).toMatchObject({ isolation: 1_000 }))
    expect(await storedIds('isolation')).toEqual(ids.toSorted())
  })
})

test('a clean run reports nothing', async () => {
  const monitor = world.monitor()
  for (let n = 0; n < 20; n++) runWell(monitor, 1_000)
  await monitor.rollUp()
  expect(await violationsOf(monitor)).toEqual({
    websocket_before_commit: 0,
    missing_rollback_notification: 0,
    transaction_boundary_violation: 0,
    agent_state_desync: 0,
    cache_stale: 0,
    isolation: 0,
  })
  expect(await monitor.score()).toMatchObject({ overall: 1, operations: 20_000, unhealthy: 0 })
  expect((await monitor.summary()).gaps.websocket_db_gap).toMatchObject({ count: 20_000, early: 0, max: 1 })
  expect(monitor.alerts).toEqual([])
})

test('two nodes: one alert, one count of each violation, the same score, and the documented SQL agrees', async () => {
  const [first, second] = [world.monitor(), world.monitor()]
  const shared = newIds(60)
  runWell(first, 100)
  runEarly(first, shared)
  // The same operations, as the other node saw them.
  await world.operations(shared)
  for (const operationId of shared)
    second.probe.reached(layerReport({ operationId, at: performance.now() - 9_000 }))
  runWell(second, 40)
  await until(async () => expect(await violationsOf(second)).toMatchObject({ websocket_before_commit: 60 }))
  await until(() => expect([...first.alerts, ...second.alerts]).toHaveLength(1))
  expect([...first.alerts, ...second.alerts][0]).toMatchObject({ state: 'firing', windowMinutes: 60 })

  await first.rollUp()
  await second.rollUp()
  await first.rollUp()
  const score = await first.score()
  expect(score).toMatchObject({ operations: 200, unhealthy: 60, overall: 0.7 })
  expect(await second.score()).toEqual(score)
  expect(await violationsOf(first)).toEqual(await violationsOf(second))
  expect(await world.rows(scoreSql)).toEqual([{ score: 0.7, operations: 200, unhealthy: 60 }])
  expect(await world.rows(kindsSql)).toEqual([
    { kind: 'websocket_db_gap', score: score.kinds.websocket_db_gap },
  ])

  runWell(second, 1_000)
  await until(() => expect([...first.alerts, ...second.alerts]).toHaveLength(2))
  expect([...first.alerts, ...second.alerts].map(({ state }) => state).toSorted()).toEqual([
    'firing',
    'recovered',
  ])
})

test('history, violations and the state of the alert survive a restart, and no alert is sent again', async () => {
  const before = world.monitor()
  runWell(before, 50)
  runEarly(before, newIds(50))
  await until(() => expect(before.alerts).toHaveLength(1))
  await until(async () => expect(await violationsOf(before)).toMatchObject({ websocket_before_commit: 50 }))
  await before.close()
  const after = world.monitor()
  await until(async () =>
    expect(await after.score()).toMatchObject({ operations: 100, unhealthy: 50, overall: 0.5 }),
  )
  expect(await violationsOf(after)).toMatchObject({ websocket_before_commit: 50 })
  expect((await after.summary()).gaps.websocket_db_gap).toMatchObject({ count: 100, early: 50, min: -500 })
  const { score: shown, violations, history, nodes } = await after.dashboard()
  expect(shown).toMatchObject({ alert: 'firing', overall: 0.5 })
  expect(violations.recent).toHaveLength(50)
  expect(history.at(-1)?.operations ?? 0).toBeGreaterThanOrEqual(0)
  expect(history.reduce((sum, point) => sum + point.operations, 0)).toBe(100)
  expect(nodes).toEqual([])
  await after.rollUp()
  expect(after.alerts).toEqual([])
})

test('what is rolled up while a dashboard is read is counted once', async () => {
  let hold: (() => Promise<void>) | undefined
  const own: Queryable = {
    query: async (statement) => {
      if (/from \S*health_violations/.test(statement.text)) {
        const held = hold
        hold = undefined
        await held?.()
      }
      return world.database.own.query(statement)
    },
  }
  const monitor = world.monitor({ own, rollupMs: 60_000 })
  // Ten violations are too few for an alert, which would roll up first.
  runWell(monitor, 90)
  runEarly(monitor, newIds(10))
  await until(async () => expect(await violationsOf(monitor)).toMatchObject({ websocket_before_commit: 10 }))
  hold = () => monitor.rollUp()
  const { violations, score } = await monitor.dashboard()
  expect(hold).toBe(undefined)
  expect(violations.counts.websocket_before_commit).toBe(10)
  expect(score).toMatchObject({ operations: 100, unhealthy: 10 })
})

/** A database that can be taken away. */
function fragile(own: Queryable): Queryable & { isAway: boolean } {
  return {
    isAway: false,
    query(statement) {
      if (this.isAway) return Promise.reject(new LockstepError('LS_CONNECTION_LOST'))
      return own.query(statement)
    },
  }
}

test('without the database it goes on in memory, warns once, and writes what there is when it is back', async () => {
  const own = fragile(world.database.own)
  const monitor = world.monitor({ own })
  runWell(monitor, 10)
  await until(async () => expect((await monitor.dashboard()).isFresh).toBe(true))
  own.isAway = true
  runEarly(monitor, newIds(20))
  monitor.probe.reached(layerReport({ operationId: newOperationId(), channel: 'x', offset: 1 }))
  await until(() => expect(world.logger.lines.filter(({ level }) => level === 'warn')).toHaveLength(1))
  expect(await monitor.score()).toMatchObject({ operations: 30, unhealthy: 20 })
  expect((await monitor.dashboard()).isFresh).toBe(false)
  runWell(monitor, 10)
  own.isAway = false
  await until(async () =>
    expect(await violationsOf(monitor)).toMatchObject({
      websocket_before_commit: 20,
      transaction_boundary_violation: 1,
    }),
  )
  expect(await storedIds('websocket_before_commit')).toHaveLength(20)
  await monitor.rollUp()
  expect(await world.rows(scoreSql)).toMatchObject([{ operations: 40, unhealthy: 21 }])
  expect(world.logger.lines.filter(({ level }) => level === 'warn')).toHaveLength(1)
})

test('a flood of hostile violations is bounded: what is stored is cut, what is not is counted', async () => {
  const heard: Violation[] = []
  const sink: HealthSink = { operation() {}, gap() {}, violation: (violation) => void heard.push(violation) }
  const monitor = world.monitor({ sinks: [sink], tickMs: 1_000 })
  const hostile = `'; drop table lockstep.events; --\0\u{D800}${'x'.repeat(100_000)}`
  for (let n = 0; n < 100_000; n++) {
    const operationId = `${n}${hostile.slice(0, 60)}`
    monitor.probe.exposed({
      operationId,
      channel: hostile,
      userId: hostile,
      at: n % 2 === 0 ? Infinity : NaN,
    })
  }
  for (const stack of [hostile, '']) {
    monitor.probe.reached({
      layer: 'websocket',
      operationId: hostile,
      at: NaN,
      channel: hostile,
      offset: Infinity,
      stack,
    })
  }
  await monitor.rollUp()
  const { violations } = await monitor.dashboard()
  expect(violations.notStored).toBe(90_000)
  expect(violations.counts.isolation).toBeGreaterThanOrEqual(90_000)
  await until(() => expect(heard.length).toBeGreaterThan(0))
  await monitor.close()
  const rows = await world.rows<{ operation_id: string; detail: string; at: Date }>(
    'select operation_id, detail, at from lockstep.health_violations',
  )
  expect(rows.length).toBe(heard.length)
  for (const { operation_id: id, detail, at } of rows) {
    expect(id.length + detail.length).toBeLessThanOrEqual(600)
    expect(Math.abs(at.getTime() - Date.now())).toBeLessThan(60_000)
  }
  expect(await world.rows(scoreSql)).toMatchObject([{ score: 0, operations: 0 }])
})

test('levels: off writes nothing, counters measure no gaps, sampled measures a share', async () => {
  const off = world.monitor({ level: 'off' })
  expect(off.probe.isOn).toBe(false)
  runEarly(off, newIds(10))
  await off.close()
  expect(await world.rows('select from lockstep.health_rollups')).toEqual([])
  expect(await off.score()).toMatchObject({ overall: 1, operations: 0 })

  const counters = world.monitor({ level: 'counters' })
  runEarly(counters, newIds(10))
  expect(await counters.score()).toMatchObject({ operations: 10, unhealthy: 0 })
  expect((await counters.summary()).gaps.websocket_db_gap.count).toBe(0)
  await counters.close()

  const sampled = world.monitor({ level: 'sampled', sampleRate: 0.25 })
  runEarly(sampled, newIds(4_000))
  await sampled.rollUp()
  const { operations, unhealthy } = await sampled.score()
  expect(operations - 10).toBe(unhealthy)
  expect(unhealthy).toBeGreaterThan(850)
  expect(unhealthy).toBeLessThan(1_150)
})

test('a sink and an alert that throw reach nobody who reports', async () => {
  const fails = (): never => {
    throw new Error('a sink of mine is broken')
  }
  const monitor = world.monitor({ sinks: [{ operation: fails, gap: fails, violation: fails }], alert: fails })
  runEarly(monitor, newIds(10))
  await until(() =>
    expect(world.logger.lines.some(({ message }) => message.includes('could not take a report'))).toBe(true),
  )
})

test('leaves no timer behind when it is closed, so that nothing keeps the process', async () => {
  const waiting = new Set<object>()
  const clock: Clock = {
    ...systemClock,
    after(delayMs, work) {
      const timer = {}
      waiting.add(timer)
      const cancel = systemClock.after(delayMs, () => {
        waiting.delete(timer)
        work()
      })
      return () => {
        waiting.delete(timer)
        cancel()
      }
    },
  }
  const monitor = world.monitor({ clock })
  runWell(monitor, 1)
  await monitor.close()
  expect(waiting.size).toBe(0)
})

test('PGlite: one session serves it as well', async () => {
  const pglite = await PGlite.create()
  const database = fromPglite(pglite)
  await database.migrate()
  const monitor = new HealthMonitor({
    own: database.own,
    schema: database.schema,
    clock: systemClock,
    logger: world.logger,
    node: () => 'only',
    databaseClock: { toDatabaseMs: (ms) => performance.timeOrigin + ms, errorMs: 2 },
    gauges: () => ({ connections: 0, openOperations: 0, bus: 'none', channels: [] }),
    tickMs: 20,
    rollupMs: 200,
    noticeGraceMs: 50,
  })
  monitor.start()
  const [untold = '', phantom = ''] = newIds(2)
  await pglite.query(
    `insert into lockstep.operations (id, name, user_id, input_hash, state, notice, settled_at)
     values ($1, 'x', 'ada', 'x', 'rolled_back', '{}', clock_timestamp())`,
    [untold],
  )
  monitor.probe.reached(layerReport({ operationId: phantom, channel: 'room:1', offset: 1 }))
  await until(async () =>
    expect(await violationsOf(monitor)).toMatchObject({
      missing_rollback_notification: 1,
      transaction_boundary_violation: 1,
    }),
  )
  const { isFresh, rollbacks, violations } = await monitor.dashboard()
  expect({ isFresh, untold: rollbacks.untold, found: violations.recent.length }).toEqual({
    isFresh: true,
    untold: 1,
    found: 2,
  })
  await monitor.close()
  await database.close()
  await pglite.close()
  // Starting PGlite takes seconds on a busy machine.
}, 60_000)

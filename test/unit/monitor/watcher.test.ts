// The watcher's verdicts, from reports and answers of the log, without a database.
import fc from 'fast-check'
import { describe, expect, it, test } from 'vitest'
import { newOperationId, type OperationReport, type LayerReport } from '../../../src/core/index.ts'
import type { LogAnswer } from '../../../src/monitor/measure/fault-rules.ts'
import { Watcher, type WatcherOptions } from '../../../src/monitor/measure/watcher.ts'
import { endReport, layerReport, newIds } from '../../support/health.ts'

function createWatcher(options: Partial<WatcherOptions> = {}) {
  const gaps: { id: string; gapMs: number }[] = []
  const faults: { id: string; kind: string; gapMs: number | undefined }[] = []
  const counts = { unwatched: 0 }
  const watcher = new Watcher({
    databaseClock: { toDatabaseMs: (ms) => ms, errorMs: 2 },
    port: {
      gap: (report, gapMs) => void gaps.push({ id: report.operationId, gapMs }),
      fault: (report, { kind }, facts) =>
        void faults.push({ id: report.operationId, kind, gapMs: facts.gapMs }),
      unwatched: (count) => void (counts.unwatched += count),
    },
    ...options,
  })
  return {
    watcher,
    gaps,
    faults,
    counts,
    end: (over: Partial<OperationReport>): void => {
      const report = endReport(over)
      if (watcher.ended(report)) watcher.settle(report)
    },
    /** Ticks until the log has been asked `times` times. */
    ask: (answer: (report: LayerReport) => LogAnswer, times = 1): void => {
      for (let asked = 0, ticks = 0; asked < times && ticks < 300; ticks++) {
        watcher.tick()
        const inquiries = watcher.inquiries(5_000)
        if (inquiries.length === 0) continue
        asked += 1
        watcher.answer(
          inquiries,
          inquiries.map(({ report }) => answer(report)),
        )
      }
    },
  }
}

const committed = (settledMs: number, hasEvent = true): LogAnswer => ({
  state: 'committed',
  operation: 'add_note',
  userId: 'ada',
  settledMs,
  hasEvent,
})

test('an event 500 ms before its commit is a violation, whichever is reported first', () => {
  const { watcher, faults, gaps, end } = createWatcher()
  const [before = '', after = ''] = newIds(2)
  watcher.reached(layerReport({ operationId: before, at: 500 }))
  end({ operationId: before, endedAt: 1_000, mode: 'observe' })
  end({ operationId: after, endedAt: 1_000, mode: 'observe' })
  watcher.reached(layerReport({ operationId: after, at: 500 }))
  expect(faults).toEqual([
    { id: before, kind: 'websocket_before_commit', gapMs: -500 },
    { id: after, kind: 'websocket_before_commit', gapMs: -500 },
  ])
  expect(gaps.map(({ gapMs }) => gapMs)).toEqual([-500, -500])
})

test('mode off is not measured; a punctual operation is no violation', () => {
  const { watcher, faults, gaps, end } = createWatcher()
  const [off = '', good = ''] = newIds(2)
  watcher.reached(layerReport({ operationId: off, at: 1 }))
  end({ operationId: off, endedAt: 9, mode: 'off' })
  end({ operationId: good, endedAt: 9, offsets: new Map([['room:1', 7]]) })
  watcher.reached(layerReport({ operationId: good, at: 9.5, channel: 'room:1', offset: 7 }))
  expect(faults).toEqual([])
  expect(gaps).toEqual([{ id: good, gapMs: 0.5 }])
})

test.each<[string, Partial<OperationReport>, Partial<LayerReport>, string | undefined]>([
  ['an event of a rollback', { outcome: 'rolled_back' }, {}, 'transaction_boundary_violation'],
  [
    'an early event of a rollback, in observe',
    { outcome: 'rolled_back', mode: 'observe' },
    { at: 50 },
    'websocket_before_commit',
  ],
  ['a notice of a rollback', { outcome: 'rolled_back' }, { layer: 'notice' }, undefined],
  ['the bus of a rollback', { outcome: 'rolled_back' }, { layer: 'bus' }, undefined],
  ['a notice of a commit', {}, { layer: 'notice' }, 'transaction_boundary_violation'],
  ['an offset beyond', {}, { channel: 'a', offset: 6 }, 'transaction_boundary_violation'],
  ['an offset that is no number', {}, { channel: 'a', offset: NaN }, 'transaction_boundary_violation'],
  ['a channel it did not write', {}, { channel: 'b', offset: 1 }, 'transaction_boundary_violation'],
  ['a channel named like a method', {}, { channel: 'toString', offset: 1 }, 'transaction_boundary_violation'],
  ['its last offset', {}, { channel: 'a', offset: 5 }, undefined],
  ['an early cached value', {}, { layer: 'cache', at: 99 }, 'cache_stale'],
  ['an early agent state', {}, { layer: 'agent', at: 99 }, 'agent_state_desync'],
  ['an acknowledgement within its error', {}, { layer: 'client', at: 96, errorMs: 5 }, undefined],
  [
    'an acknowledgement that claims a wild error',
    {},
    { layer: 'client', at: -9_000, errorMs: 1e12 },
    'websocket_before_commit',
  ],
  ['a negative error', {}, { layer: 'client', at: 99, errorMs: -5 }, 'websocket_before_commit'],
])('%s', (_name, end, layer, kind) => {
  const checked = createWatcher()
  const operationId = newOperationId()
  checked.end({ operationId, endedAt: 100, offsets: new Map([['a', 5]]), ...end })
  checked.watcher.reached(layerReport({ operationId, at: 101, ...layer }))
  // A place that is not the operation's own may be of another user's operation with the same id, so the watcher asks
  // the log.
  if (checked.watcher.waiting > 0) checked.ask(() => committed(100, false))
  expect(checked.faults.map((fault) => fault.kind)).toEqual(kind === undefined ? [] : [kind])
})

describe('of two users with one operation id', () => {
  it('each one is counted, and each report is checked against the one that it belongs to', () => {
    const { watcher, faults, gaps } = createWatcher()
    const operationId = newOperationId()
    const ada = endReport({ operationId, userId: 'ada', mode: 'observe', endedAt: 900 })
    const eve = endReport({ operationId, userId: 'eve', endedAt: 100, offsets: new Map([['room:1', 7]]) })
    expect([watcher.ended(eve), watcher.ended(ada), watcher.ended(eve), watcher.ended(ada)]).toEqual([
      true,
      true,
      false,
      false,
    ])
    // The event comes after the commit of eve's operation, and long before that of ada's, which it is of.
    watcher.reached(layerReport({ operationId, userId: 'ada', at: 500, channel: 'room:1' }))
    watcher.reached(layerReport({ operationId, at: 101, channel: 'room:1', offset: 7 }))
    expect(faults).toEqual([{ id: operationId, kind: 'websocket_before_commit', gapMs: -400 }])
    expect(gaps.map(({ gapMs }) => gapMs)).toEqual([-400, 1])
  })

  it('an event of the one that ran elsewhere is no false event of the one that ran here', () => {
    const { watcher, faults, ask, end } = createWatcher()
    const operationId = newOperationId()
    const early = layerReport({ operationId, at: 101, channel: 'room:1', offset: 7 })
    watcher.reached(early)
    end({ operationId, userId: 'ada', outcome: 'rolled_back', endedAt: 100 })
    watcher.reached(layerReport({ operationId, at: 102, channel: 'room:1', offset: 8 }))
    ask(() => committed(90))
    expect(faults).toEqual([])
    expect(watcher.waiting).toBe(0)
  })

  it("a notice of the one is not the other one's", () => {
    const { watcher, faults, end } = createWatcher()
    const operationId = newOperationId()
    end({ operationId, userId: 'eve', endedAt: 100 })
    watcher.reached(layerReport({ layer: 'notice', operationId, at: 101, channel: 'user:ada', offset: 1 }))
    end({ operationId, userId: 'ada', outcome: 'rolled_back', endedAt: 100 })
    expect(faults).toEqual([])
    expect(watcher.waiting).toBe(0)
  })
})

test('1,000 of each kind, reported in any order among 10,000 that are well, are all found, and nothing else', () => {
  const checked = createWatcher()
  const plans = [
    { kind: 'websocket_before_commit', end: {}, layer: { at: 99 } },
    { kind: 'transaction_boundary_violation', end: { outcome: 'rolled_back' as const }, layer: {} },
    { kind: 'cache_stale', end: {}, layer: { layer: 'cache' as const, at: 99 } },
    { kind: 'agent_state_desync', end: {}, layer: { layer: 'agent' as const, at: 99 } },
    ...Array.from({ length: 10 }, () => ({ kind: '', end: {}, layer: {} })),
  ]
  const wanted: string[] = []
  for (let n = 0; n < 1_000; n++) {
    for (const [place, { kind, end, layer }] of plans.entries()) {
      const operationId = newOperationId()
      if (kind !== '') wanted.push(`${kind} ${operationId}`)
      const report = layerReport({ operationId, at: 101, ...layer })
      const isFirst = (n + place) % 2 === 0
      if (isFirst) checked.watcher.reached(report)
      checked.end({ operationId, endedAt: 100, ...end })
      if (!isFirst) checked.watcher.reached(report)
    }
  }
  expect(checked.faults.map(({ kind, id }) => `${kind} ${id}`).toSorted()).toEqual(wanted.toSorted())
  expect(checked.counts.unwatched).toBe(0)
  expect(checked.watcher.waiting).toBe(0)
})

test('of another node: a gap within the clock error is 0, beyond it is early', () => {
  const { watcher, gaps, faults, ask } = createWatcher()
  const [near = '', far = '', late = ''] = newIds(3)
  watcher.reached(layerReport({ operationId: near, at: 97.5 }))
  watcher.reached(layerReport({ operationId: far, at: 96 }))
  watcher.reached(layerReport({ operationId: late, at: 160 }))
  ask(() => committed(100))
  expect(gaps).toEqual([
    { id: near, gapMs: 0 },
    { id: far, gapMs: -4 },
    { id: late, gapMs: 60 },
  ])
  expect(faults).toEqual([{ id: far, kind: 'websocket_before_commit', gapMs: -4 }])
})

test('an operation that is open when the log is asked is checked when it has ended', () => {
  const { watcher, faults, ask } = createWatcher()
  watcher.reached(layerReport({ operationId: newOperationId(), at: 100 }))
  ask(() => ({ state: 'started', hasEvent: true }))
  expect(faults).toEqual([])
  ask(() => committed(2_100))
  expect(faults).toMatchObject([{ kind: 'websocket_before_commit', gapMs: -2_000 }])
  expect(watcher.waiting).toBe(0)
})

test('an operation that stays open for a minute after its event was shown is a violation', () => {
  const { watcher, faults, ask } = createWatcher()
  watcher.reached(layerReport({ operationId: newOperationId(), at: 100 }))
  ask(() => ({ state: 'started', hasEvent: true }), 20)
  expect(faults).toEqual([{ id: expect.any(String), kind: 'websocket_before_commit', gapMs: undefined }])
  expect(watcher.waiting).toBe(0)
})

test('an event that the log does not hold is a violation at once, anything else after three questions', () => {
  const { watcher, faults, ask } = createWatcher()
  const [event = '', transient = ''] = newIds(2)
  watcher.reached(layerReport({ operationId: event, at: 1, channel: 'a', offset: 3 }))
  watcher.reached(layerReport({ operationId: transient, at: 1 }))
  const unknown: LogAnswer = { state: 'unknown', hasEvent: false }
  ask(() => unknown)
  expect(faults).toMatchObject([{ id: event, kind: 'transaction_boundary_violation' }])
  ask(() => unknown, 2)
  expect(faults).toMatchObject([{ id: event }, { id: transient, kind: 'transaction_boundary_violation' }])
})

test('a notice that was reported from memory is no violation while its outcome cannot be written, however long', () => {
  const { watcher, faults, counts, gaps, ask, end } = createWatcher()
  const [later = '', never = ''] = newIds(2)
  const unknown: LogAnswer = { state: 'unknown', hasEvent: true }
  for (const operationId of [later, never])
    watcher.reached(layerReport({ operationId, at: 5, layer: 'notice' }))
  ask(() => unknown, 5)
  end({ operationId: later, endedAt: 4, outcome: 'rolled_back', offsets: new Map() })
  ask(() => unknown, 200)
  expect(faults).toEqual([])
  expect(gaps).toEqual([{ id: later, gapMs: 1 }])
  expect(counts.unwatched).toBe(1)
  expect(watcher.waiting).toBe(0)
})

test('what is reported while the log is asked is asked for next', () => {
  const { watcher, gaps, ask } = createWatcher()
  const operationId = newOperationId()
  watcher.reached(layerReport({ operationId, at: 101, channel: 'a', offset: 1 }))
  for (let tick = 0; tick < 4; tick++) watcher.tick()
  const asking = watcher.inquiries(10)
  watcher.reached(layerReport({ operationId, at: 102, channel: 'b', offset: 1 }))
  watcher.answer(asking, [committed(100)])
  expect(watcher.waiting).toBe(1)
  ask(() => committed(100))
  expect(gaps.map(({ gapMs }) => gapMs)).toEqual([1, 2])
})

test('an end that is reported while the log is asked is believed, and the answer let go', () => {
  const { watcher, gaps, end } = createWatcher()
  const operationId = newOperationId()
  watcher.reached(layerReport({ operationId, at: 105 }))
  for (let tick = 0; tick < 4; tick++) watcher.tick()
  const asking = watcher.inquiries(10)
  end({ operationId, endedAt: 101 })
  watcher.answer(asking, [committed(100)])
  expect(gaps).toEqual([{ id: operationId, gapMs: 4 }])
})

test('a mode that is off on the node that ran it is not measured elsewhere', () => {
  const { watcher, gaps, faults, ask } = createWatcher({ modeOf: () => 'off' })
  watcher.reached(layerReport({ operationId: newOperationId(), at: 1 }))
  ask(() => committed(100))
  expect([gaps, faults]).toEqual([[], []])
})

test('a million reports in hostile orders leave a bounded memory, and each that was let go is counted', () => {
  const most = 5_000
  const checked = createWatcher({ mostWaiting: most, endedGeneration: 1_000 })
  const { watcher, counts } = checked
  const same = newOperationId()
  let largest = 0
  for (let n = 0; n < 1_000_000; n++) {
    const operationId = n % 3 === 0 ? same : `00000000-0000-4000-8000-${String(n).padStart(12, '0')}`
    watcher.reached({ layer: 'websocket', operationId, at: n % 5 === 0 ? Number.NaN : -n, offset: -n })
    if (n % 50_000 === 0) {
      watcher.tick()
      watcher.postpone(watcher.inquiries(1_000))
    }
    if (watcher.waiting > largest) largest = watcher.waiting
  }
  expect(largest).toBeLessThanOrEqual(most)
  expect(counts.unwatched + watcher.waiting).toBe(1_000_000)
  for (let n = 0; n < 300; n++) {
    watcher.tick()
    const inquiries = watcher.inquiries(1_000)
    watcher.answer(inquiries, [])
  }
  expect(watcher.waiting).toBe(0)
  expect(counts.unwatched + checked.faults.length).toBe(1_000_000)
})

test('whatever the order, each report ends in one verdict', () => {
  const step = fc.record({
    does: fc.constantFrom('reach', 'end', 'tick', 'ask', 'fail'),
    op: fc.integer({ min: 0, max: 5 }),
    state: fc.constantFrom('committed', 'rolled_back', 'started', 'unknown'),
  })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
      const ids = newIds(6)
      const checked = createWatcher({ mostWaiting: 20 })
      let reports = 0
      let verdicts = 0
      const { watcher } = checked
      for (const { does, op, state } of steps) {
        const operationId = ids[op] ?? ''
        if (does === 'reach') {
          reports += 1
          watcher.reached(layerReport({ operationId, at: op * 50, layer: 'bus' }))
        } else if (does === 'end') checked.end({ operationId, endedAt: 100 })
        else if (does === 'tick') watcher.tick()
        else {
          const inquiries = watcher.inquiries(50)
          if (does === 'fail') watcher.postpone(inquiries)
          else
            watcher.answer(
              inquiries,
              inquiries.map(() => ({ ...committed(100), state })),
            )
        }
      }
      checked.ask(() => committed(100), 40)
      verdicts = checked.gaps.length + checked.counts.unwatched
      verdicts += checked.faults.filter(({ gapMs }) => gapMs === undefined).length
      // An answer `unknown` with a time of settlement does not exist; here it gives a gap as well.
      expect(verdicts).toBe(reports)
      expect(watcher.waiting).toBe(0)
    }),
  )
})

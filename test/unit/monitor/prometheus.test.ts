import { describe, expect, test } from 'vitest'
import type { OperationReport } from '../../../src/core/index.ts'
import { defaultThresholds, gapKinds, type Violation } from '../../../src/monitor/model/kinds.ts'
import type { NodeGauges } from '../../../src/monitor/index.ts'
import {
  createPrometheusExport,
  gapBuckets,
  type PrometheusExport,
} from '../../../src/monitor/export/prometheus.ts'
import { keyOf, parsePrometheus, type Exposition } from '../../support/prometheus-text.ts'

const ended = (operation: string, more: Partial<OperationReport> = {}): OperationReport => ({
  operationId: 'o1',
  operation,
  userId: 'u1',
  mode: 'enforce',
  outcome: 'committed',
  beganAt: 0,
  endedAt: 1,
  offsets: new Map(),
  isNotified: false,
  ...more,
})

const found = (kind: Violation['kind']): Violation => ({
  kind,
  operationId: 'o1',
  layers: [],
  at: 0,
  node: 'n1',
  detail: '',
})

async function read(prometheus: PrometheusExport): Promise<Exposition> {
  return parsePrometheus((await prometheus.metrics()).body)
}

function valueOf(
  { samples }: Exposition,
  name: string,
  labels: Readonly<Record<string, string>> = {},
): unknown {
  const wanted = keyOf({ name, labels })
  return samples.find((sample) => keyOf(sample) === wanted)?.value
}

test('operations and violations are counted by what they were', async () => {
  const prometheus = createPrometheusExport()
  for (let n = 0; n < 3; n++) prometheus.operation(ended('send_message'))
  prometheus.operation(ended('send_message', { outcome: 'rolled_back', mode: 'observe' }))
  prometheus.violation(found('isolation'))
  const text = await read(prometheus)
  const name = 'lockstep_operations_total'
  expect(valueOf(text, name, { operation: 'send_message', outcome: 'committed', mode: 'enforce' })).toBe(3)
  expect(valueOf(text, name, { operation: 'send_message', outcome: 'rolled_back', mode: 'observe' })).toBe(1)
  expect(valueOf(text, 'lockstep_violations_total', { kind: 'isolation' })).toBe(1)
  expect(text.types.get(name)).toBe('counter')
  expect(text.types.get('lockstep_gap_seconds')).toBe('histogram')
})

test('a gap is seconds in a histogram; one that is negative is counted apart and lowers no sum', async () => {
  const prometheus = createPrometheusExport()
  for (const gapMs of [0, 100, 100.5, 20_000, -500, Number.NaN, Number.POSITIVE_INFINITY]) {
    prometheus.gap('websocket_db_gap', gapMs)
  }
  const text = await read(prometheus)
  const kind = 'websocket_db_gap'
  expect(valueOf(text, 'lockstep_gap_seconds_count', { kind })).toBe(4)
  expect(valueOf(text, 'lockstep_gap_seconds_sum', { kind })).toBeCloseTo(20.2005)
  expect(valueOf(text, 'lockstep_gap_seconds_bucket', { kind, le: '0.1' })).toBe(2)
  expect(valueOf(text, 'lockstep_gap_seconds_bucket', { kind, le: '+Inf' })).toBe(4)
  expect(valueOf(text, 'lockstep_gap_early_total', { kind })).toBe(1)
})

test('however many come between two reads, each counts once', async () => {
  const prometheus = createPrometheusExport()
  const kind = 'node_bus_gap'
  for (const [reads, count] of [2_500, 0, 1].entries()) {
    for (let n = 0; n < count; n++) {
      prometheus.operation(ended('send_message'))
      prometheus.gap(kind, 1)
    }
    const text = await read(prometheus)
    const all = reads === 2 ? 2_501 : 2_500
    const labels = { operation: 'send_message', outcome: 'committed', mode: 'enforce' }
    expect(valueOf(text, 'lockstep_operations_total', labels)).toBe(all)
    expect(valueOf(text, 'lockstep_gap_seconds_count', { kind })).toBe(all)
    expect(valueOf(text, 'lockstep_gap_seconds_bucket', { kind, le: '0.001' })).toBe(all)
  }
})

test('each threshold, also one of your own, is a bound of a bucket', async () => {
  for (const ms of Object.values(defaultThresholds)) expect(gapBuckets()).toContain(ms / 1_000)
  const prometheus = createPrometheusExport({ thresholds: { cache_db_sync: 33 } })
  prometheus.gap('cache_db_sync', 33)
  const labels = { kind: 'cache_db_sync', le: '0.033' }
  expect(valueOf(await read(prometheus), 'lockstep_gap_seconds_bucket', labels)).toBe(1)
  const bounds = gapBuckets({ cache_db_sync: 33 })
  expect(bounds).toEqual([...new Set(bounds)].toSorted((a, b) => a - b))
})

test('series that have not happened yet are there as 0, so that a rate sees the first', async () => {
  const text = await read(createPrometheusExport())
  for (const kind of gapKinds) expect(valueOf(text, 'lockstep_gap_early_total', { kind })).toBe(0)
  expect(valueOf(text, 'lockstep_violations_total', { kind: 'websocket_before_commit' })).toBe(0)
})

describe('gauges', () => {
  const gauges: NodeGauges = {
    score: () => 0.97,
    scoreKinds: () => ({ websocket_db_gap: 0.5, cache_db_sync: null }),
    connections: () => 7,
    isLeaseHeld: () => true,
    isBusUp: () => false,
    channels: () => undefined,
    openOperations: () => {
      throw new Error('not now')
    },
    outboundBytes: () => Number.NaN,
  }

  test('are asked when they are read; what is not known has no sample', async () => {
    const text = await read(createPrometheusExport({ gauges }))
    expect(valueOf(text, 'lockstep_score')).toBe(0.97)
    expect(valueOf(text, 'lockstep_connections')).toBe(7)
    expect(valueOf(text, 'lockstep_lease_held')).toBe(1)
    expect(valueOf(text, 'lockstep_bus_up')).toBe(0)
    for (const name of ['lockstep_channels', 'lockstep_open_operations', 'lockstep_outbound_bytes']) {
      expect(valueOf(text, name)).toBe(undefined)
      expect(text.types.get(name)).toBe('gauge')
    }
    expect(text.samples.filter(({ name }) => name === 'lockstep_score_kind')).toEqual([
      { name: 'lockstep_score_kind', labels: { kind: 'websocket_db_gap' }, value: 0.5 },
    ])
  })

  test('follow what they are asked, and may become unknown again', async () => {
    const scores: (number | undefined)[] = [0.5, undefined, 1]
    const prometheus = createPrometheusExport({ gauges: { score: () => scores.shift() } })
    const read3 = [await read(prometheus), await read(prometheus), await read(prometheus)]
    expect(read3.map((text) => valueOf(text, 'lockstep_score'))).toEqual([0.5, undefined, 1])
  })
})

describe('hostile operation names', () => {
  const names = [
    'quote " comma , brace }',
    String.raw`back\slash \n \" end\ `.trimEnd() + '\\',
    'line\nbreak{a="b"} 7\n# TYPE lockstep_score counter',
    'carriage\rreturn',
    '","mode":"off"} 1',
    'x,outcome:committed,mode:enforce',
    '__proto__',
    'constructor',
    '',
    '日本語 🦆',
    '\u{D800}half',
    'nul\0byte',
  ]

  test('stay one label value each, and break nothing', async () => {
    const prometheus = createPrometheusExport()
    for (const name of names) prometheus.operation(ended(name))
    const text = await read(prometheus)
    const counted = text.samples.filter(({ name }) => name === 'lockstep_operations_total')
    // Characters that the format cannot carry become the replacement character.
    const expected = names.map((name) => name.replaceAll(/[\n\r\0\u{D800}]/gu, '\u{FFFD}'))
    expect(new Set(counted.map(({ labels }) => labels['operation']))).toEqual(new Set(expected))
    expect(counted.every(({ value }) => value === 1)).toBe(true)
    expect(text.types.get('lockstep_score')).toBe('gauge')
    expect(counted.every(({ labels }) => labels['mode'] === 'enforce')).toBe(true)
  })

  test('however many, there are 200 and "other"; a long one is "other"', async () => {
    const prometheus = createPrometheusExport()
    prometheus.operation(ended('x'.repeat(129)))
    for (let n = 0; n < 100_000; n++) prometheus.operation(ended(`made up ${n}`))
    prometheus.operation(ended('made up 0'))
    const text = await read(prometheus)
    const counted = text.samples.filter(({ name }) => name === 'lockstep_operations_total')
    expect(counted).toHaveLength(201)
    const labels = { outcome: 'committed', mode: 'enforce' }
    expect(valueOf(text, 'lockstep_operations_total', { ...labels, operation: 'other' })).toBe(99_801)
    expect(valueOf(text, 'lockstep_operations_total', { ...labels, operation: 'made up 0' })).toBe(2)
  })
})

test('two of one process do not meet, and process metrics are asked for', async () => {
  const [one, two] = [createPrometheusExport(), createPrometheusExport({ processMetrics: true })]
  one.violation(found('isolation'))
  const [textOfOne, textOfTwo] = [await read(one), await read(two)]
  expect(valueOf(textOfTwo, 'lockstep_violations_total', { kind: 'isolation' })).toBe(0)
  expect(textOfOne.types.has('process_resident_memory_bytes')).toBe(false)
  expect(textOfTwo.types.has('process_resident_memory_bytes')).toBe(true)
  expect((await one.metrics()).contentType).toBe('text/plain; version=0.0.4; charset=utf-8')
})

test('the parser of these tests refuses what is not the format', () => {
  for (const text of [
    'a',
    'a 1',
    'a{b="c} 1\n',
    'a{b="c"d="e"} 1\n',
    'a{b="\\x"} 1\n',
    'a x\n',
    'a 1\na 1\n',
  ]) {
    expect(() => parsePrometheus(text)).toThrow(/./)
  }
  expect(parsePrometheus('a{b="c\\n",} 1\n').samples).toEqual([{ name: 'a', labels: { b: 'c\n' }, value: 1 }])
})

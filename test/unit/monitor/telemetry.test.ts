import { metrics } from '@opentelemetry/api'
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics'
import { afterEach, expect, test } from 'vitest'
import type { OperationReport } from '../../../src/core/index.ts'
import { createTelemetryExport } from '../../../src/monitor/index.ts'

const ended: OperationReport = {
  operationId: 'o1',
  operation: 'send_message',
  userId: 'u1',
  mode: 'enforce',
  outcome: 'committed',
  beganAt: 0,
  endedAt: 1,
  offsets: new Map(),
  isNotified: false,
}

interface Point {
  readonly attributes: object
  readonly value: unknown
}

interface Sdk {
  /** Reads the points by the name of the instrument, and its unit. */
  read(): Promise<ReadonlyMap<string, { readonly unit: string; readonly points: readonly Point[] }>>
}

const closing: (() => Promise<void>)[] = []
afterEach(async () => {
  metrics.disable()
  for (const close of closing.splice(0)) await close()
})

function startSdk(): Sdk {
  const exporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE)
  const provider = new MeterProvider({
    readers: [new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 3_600_000 })],
  })
  metrics.setGlobalMeterProvider(provider)
  closing.push(() => provider.shutdown())
  return {
    async read() {
      exporter.reset()
      await provider.forceFlush()
      const all = exporter
        .getMetrics()
        .flatMap(({ scopeMetrics }) => scopeMetrics.flatMap((scope) => scope.metrics))
      return new Map(
        all.map(({ descriptor, dataPoints }) => [
          descriptor.name,
          {
            unit: descriptor.unit,
            points: dataPoints.map(({ attributes, value }) => ({ attributes, value })),
          },
        ]),
      )
    },
  }
}

test('counts operations, violations and gaps, in seconds', async () => {
  const sdk = startSdk()
  const sink = createTelemetryExport({ gauges: { score: () => 0.9, isLeaseHeld: () => true } })
  sink.operation(ended)
  sink.operation(ended)
  sink.violation({ kind: 'isolation', operationId: 'o1', layers: [], at: 0, node: 'n1', detail: '' })
  for (const gapMs of [50, 150, -5, Number.NaN]) sink.gap('websocket_db_gap', gapMs)
  const read = await sdk.read()
  expect(read.get('lockstep.operations')?.points).toEqual([
    {
      attributes: {
        'lockstep.operation.name': 'send_message',
        'lockstep.outcome': 'committed',
        'lockstep.mode': 'enforce',
      },
      value: 2,
    },
  ])
  const kind = { 'lockstep.gap.kind': 'websocket_db_gap' }
  expect(read.get('lockstep.violations')?.points[0]).toMatchObject({ value: 1 })
  expect(read.get('lockstep.gap.early')?.points).toEqual([{ attributes: kind, value: 1 }])
  expect(read.get('lockstep.gap')).toMatchObject({
    unit: 's',
    points: [{ attributes: kind, value: { count: 2, sum: 0.2, min: 0.05, max: 0.15 } }],
  })
  expect(read.get('lockstep.gap')?.points[0]?.value).toMatchObject({
    buckets: { boundaries: expect.arrayContaining([0.05, 0.1, 0.25, 1]) as unknown },
  })
  expect(read.get('lockstep.score')?.points).toMatchObject([{ value: 0.9 }])
  expect(read.get('lockstep.lease_held')?.points).toMatchObject([{ value: 1 }])
  expect(read.get('lockstep.connections')?.points ?? []).toEqual([])
  sink.close()
})

test('an SDK that is registered later counts from then on, and gauges end with the sink', async () => {
  let asked = 0
  const sink = createTelemetryExport({ gauges: { score: () => asked++ } })
  sink.operation(ended)
  const sdk = startSdk()
  sink.operation(ended)
  const read = await sdk.read()
  expect(read.get('lockstep.operations')?.points).toMatchObject([{ value: 1 }])
  expect(asked).toBe(1)
  sink.close()
  sink.operation(ended)
  expect((await sdk.read()).get('lockstep.operations')?.points).toMatchObject([{ value: 1 }])
  expect(asked).toBe(1)
})

test('made-up operation names are bounded', async () => {
  const sdk = startSdk()
  const sink = createTelemetryExport({ maxOperationNames: 5 })
  for (let n = 0; n < 50; n++) sink.operation({ ...ended, operation: `made up ${n}` })
  const points = (await sdk.read()).get('lockstep.operations')?.points ?? []
  expect(points).toHaveLength(6)
  expect(points.find(({ attributes }) => JSON.stringify(attributes).includes('"other"'))?.value).toBe(45)
  sink.close()
})

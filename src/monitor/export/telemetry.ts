import { metrics, type Counter, type Histogram, type Meter, type MeterProvider } from '@opentelemetry/api'
import type { OperationReport } from '../../core/index.ts'
import { gapKinds, type GapKind, type Thresholds, type Violation } from '../model/kinds.ts'
import { LabelValues } from './label-values.ts'
import { nodeGauges, readGauge, type NodeGauges } from './node-gauges.ts'
import { gapBuckets } from './prometheus.ts'
import type { HealthSink } from '../measure/sink.ts'

export interface TelemetryOptions {
  readonly gauges?: NodeGauges
  /** Advised as bounds of buckets. */
  readonly thresholds?: Partial<Thresholds>
  /** Different operation names; further ones are counted as `other`. Default 200. */
  readonly maxOperationNames?: number
}

export interface TelemetryExport extends HealthSink {
  /** Gauges are not asked any more. */
  close(): void
}

/**
 * Counts for OpenTelemetry, through the meter provider that is registered globally. Without one it costs next to
 * nothing.
 */
export function createTelemetryExport(options: TelemetryOptions = {}): TelemetryExport {
  return new TelemetrySink(options)
}

interface Instruments {
  readonly operations: Counter
  readonly violations: Counter
  readonly gaps: Histogram
  readonly early: Counter
  readonly unregister: () => void
}

const gapAttributes = Object.fromEntries(
  gapKinds.map((kind) => [kind, { 'lockstep.gap.kind': kind }]),
) as Readonly<Record<GapKind, { readonly 'lockstep.gap.kind': GapKind }>>

class TelemetrySink implements TelemetryExport {
  readonly #create: (provider: MeterProvider) => Instruments
  readonly #names: LabelValues
  #provider: MeterProvider | undefined
  #instruments: Instruments | undefined
  #isClosed = false

  constructor(options: TelemetryOptions) {
    this.#create = (provider) => createInstruments(provider.getMeter('lockstep'), options)
    this.#names = new LabelValues(options.maxOperationNames)
    // Create the gauges before the first operation.
    this.#current()
  }

  operation({ operation, outcome, mode }: OperationReport): void {
    this.#current()?.operations.add(1, {
      'lockstep.operation.name': this.#names.of(operation),
      'lockstep.outcome': outcome,
      'lockstep.mode': mode,
    })
  }

  gap(kind: GapKind, gapMs: number): void {
    const instruments = this.#current()
    const attributes = gapAttributes[kind]
    if (gapMs < 0) instruments?.early.add(1, attributes)
    else if (Number.isFinite(gapMs)) instruments?.gaps.record(gapMs / 1_000, attributes)
  }

  violation({ kind }: Violation): void {
    this.#current()?.violations.add(1, { 'lockstep.violation.kind': kind })
  }

  close(): void {
    this.#isClosed = true
    this.#instruments?.unregister()
    this.#instruments = undefined
  }

  // Meters, unlike tracers, do not turn into real ones when an SDK is registered after them.
  #current(): Instruments | undefined {
    if (this.#isClosed) return undefined
    const provider = metrics.getMeterProvider()
    if (provider !== this.#provider) {
      this.#instruments?.unregister()
      this.#provider = provider
      this.#instruments = this.#create(provider)
    }
    return this.#instruments
  }
}

function createInstruments(meter: Meter, { gauges = {}, thresholds }: TelemetryOptions): Instruments {
  return {
    operations: meter.createCounter('lockstep.operations', {
      description: 'Operations that ended on this node.',
      unit: '{operation}',
    }),
    violations: meter.createCounter('lockstep.violations', {
      description: 'Violations that this node was the first to find.',
      unit: '{violation}',
    }),
    gaps: meter.createHistogram('lockstep.gap', {
      description: 'Time from the end of an operation to what another layer showed of it.',
      unit: 's',
      advice: { explicitBucketBoundaries: [...gapBuckets(thresholds)] },
    }),
    early: meter.createCounter('lockstep.gap.early', {
      description: 'Times that a layer showed something of an operation before its end.',
      unit: '{event}',
    }),
    unregister: observe(meter, gauges),
  }
}

function observe(meter: Meter, gauges: NodeGauges): () => void {
  const undo = nodeGauges.map((gauge) => {
    const { name, help, unit } = gauge
    const observed = meter.createObservableGauge(dotted(name), { description: help, unit })
    const callback: Parameters<typeof observed.addCallback>[0] = (result) => {
      const value = readGauge(gauge, gauges)
      if (value !== undefined) result.observe(value)
    }
    observed.addCallback(callback)
    return () => observed.removeCallback(callback)
  })
  return () => undo.forEach((remove) => remove())
}

/** `lockstep_lease_held` is `lockstep.lease_held`: the dot ends the namespace. */
function dotted(name: string): string {
  return name.replace('lockstep_', 'lockstep.')
}

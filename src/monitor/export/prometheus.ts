import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client'
import { modes, type OperationReport, type Mode } from '../../core/index.ts'
import {
  defaultThresholds,
  gapKinds,
  type GapKind,
  type Thresholds,
  type Violation,
  violationKinds,
} from '../model/kinds.ts'
import { LabelValues } from './label-values.ts'
import {
  nodeGauges,
  readGauge,
  readRefusals,
  readScoreKinds,
  type NodeGauge,
  type NodeGauges,
} from './node-gauges.ts'
import type { HealthSink } from '../measure/sink.ts'

export interface PrometheusOptions {
  readonly gauges?: NodeGauges
  /** Bounds of buckets, so that gaps beyond a threshold can be counted. */
  readonly thresholds?: Partial<Thresholds>
  /** Exports metrics of the process too, from prom-client: memory, event loop, garbage collection. Default false. */
  readonly processMetrics?: boolean
  /** Different operation names; further ones are counted as `other`. Default 200. */
  readonly maxOperationNames?: number
}

export interface MetricsText {
  readonly contentType: string
  readonly body: string
}

export interface PrometheusExport extends HealthSink {
  /** Metrics in the text format of Prometheus. */
  metrics(): Promise<MetricsText>
}

const commonBucketsMs = [1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000]

/** Bounds of a histogram of gaps, in seconds: the common ones and the thresholds. */
export function gapBuckets(thresholds: Partial<Thresholds> = {}): readonly number[] {
  const bounds = new Set([...commonBucketsMs, ...Object.values({ ...defaultThresholds, ...thresholds })])
  return [...bounds].filter((ms) => ms > 0).toSorted((a, b) => a - b).map((ms) => ms / 1_000) // prettier-ignore
}

/** Counts for Prometheus, in a registry of its own: several instances of one process do not meet. */
export function createPrometheusExport(options: PrometheusOptions = {}): PrometheusExport {
  return new PrometheusSink(options)
}

type EndedCounts = Readonly<Record<OperationReport['outcome'], Partial<Record<Mode, number>>>>

/** Gaps of one kind that are kept until the registry is told. */
const mostWaiting = 1_000

class PrometheusSink implements PrometheusExport {
  readonly #registry = new Registry()
  readonly #names: LabelValues
  readonly #operations: Counter<'operation' | 'outcome' | 'mode'>
  readonly #violations: Counter<'kind'>
  readonly #gaps: ReadonlyMap<GapKind, Histogram.Internal<'kind'>>
  readonly #early: ReadonlyMap<GapKind, Counter.Internal>
  /** Counts of operations that ended since the registry was last updated, by name, outcome and mode. */
  readonly #ended = new Map<string, EndedCounts>()
  /** Gaps that were measured since then, in milliseconds. */
  readonly #waiting: Readonly<Record<GapKind, number[]>>

  constructor(options: PrometheusOptions) {
    const registers = [this.#registry]
    this.#names = new LabelValues(options.maxOperationNames)
    this.#operations = new Counter({
      name: 'lockstep_operations_total',
      help: 'Operations that ended on this node.',
      labelNames: ['operation', 'outcome', 'mode'],
      registers,
    })
    this.#violations = new Counter({
      name: 'lockstep_violations_total',
      help: 'Violations that this node was the first to find.',
      labelNames: ['kind'],
      registers,
    })
    const gaps = new Histogram({
      name: 'lockstep_gap_seconds',
      help: 'Time from the end of an operation to what another layer showed of it, where it came after the end.',
      labelNames: ['kind'],
      buckets: [...gapBuckets(options.thresholds)],
      registers,
    })
    const early = new Counter({
      name: 'lockstep_gap_early_total',
      help: 'Times that a layer showed something of an operation before its end.',
      labelNames: ['kind'],
      registers,
    })
    // Export zeros from the beginning, so that a rate over the first violation sees it.
    for (const kind of violationKinds) this.#violations.inc({ kind }, 0)
    for (const kind of gapKinds) early.inc({ kind }, 0)
    this.#waiting = Object.fromEntries(gapKinds.map((kind) => [kind, []])) as unknown as Record<GapKind, []>
    this.#gaps = new Map(gapKinds.map((kind) => [kind, gaps.labels(kind)]))
    this.#early = new Map(gapKinds.map((kind) => [kind, early.labels(kind)]))
    for (const gauge of nodeGauges) register(gauge, options.gauges ?? {}, registers)
    registerScoreKinds(options.gauges ?? {}, registers)
    registerRefusals(options.gauges ?? {}, registers)
    if (options.processMetrics === true) collectDefaultMetrics({ register: this.#registry })
  }

  // The registry checks and hashes labels at each call, so it is told of many at once.
  operation({ operation, outcome, mode }: OperationReport): void {
    const name = this.#names.of(operation)
    let ended = this.#ended.get(name)
    if (ended === undefined) this.#ended.set(name, (ended = { committed: {}, rolled_back: {} }))
    ended[outcome][mode] = (ended[outcome][mode] ?? 0) + 1
  }

  gap(kind: GapKind, gapMs: number): void {
    // A histogram throws for what is no number.
    if (gapMs < 0) this.#early.get(kind)?.inc()
    else if (Number.isFinite(gapMs) && this.#waiting[kind].push(gapMs) >= mostWaiting) this.#observe(kind)
  }

  violation({ kind }: Violation): void {
    this.#violations.inc({ kind })
  }

  async metrics(): Promise<MetricsText> {
    for (const [operation, ended] of this.#ended) this.#count(operation, ended)
    this.#ended.clear()
    for (const kind of gapKinds) this.#observe(kind)
    return { contentType: this.#registry.contentType, body: await this.#registry.metrics() }
  }

  #count(operation: string, ended: EndedCounts): void {
    for (const outcome of ['committed', 'rolled_back'] as const) {
      for (const mode of modes) {
        const count = ended[outcome][mode]
        if (count !== undefined) this.#operations.inc({ operation, outcome, mode }, count)
      }
    }
  }

  #observe(kind: GapKind): void {
    const histogram = this.#gaps.get(kind)
    for (const gapMs of this.#waiting[kind]) histogram?.observe(gapMs / 1_000)
    this.#waiting[kind].length = 0
  }
}

function register(gauge: NodeGauge, gauges: NodeGauges, registers: Registry[]): void {
  const { name, help } = gauge
  void new Gauge({
    name,
    help,
    registers,
    collect() {
      const value = readGauge(gauge, gauges)
      // A gauge that is not known has no sample: 0 would be a value like any other.
      if (value === undefined) this.remove({})
      else this.set(value)
    },
  })
}

function registerScoreKinds(gauges: NodeGauges, registers: Registry[]): void {
  void new Gauge({
    name: 'lockstep_score_kind',
    help: 'Share of the gaps of a kind within their threshold, over the cluster and the window, 0 to 1.',
    labelNames: ['kind'],
    registers,
    collect() {
      this.reset()
      for (const [kind, score] of readScoreKinds(gauges)) this.set({ kind }, score)
    },
  })
}

function registerRefusals(gauges: NodeGauges, registers: Registry[]): void {
  void new Counter({
    name: 'lockstep_connections_refused_total',
    help: 'Clients that this node turned away before they were connected, by reason.',
    labelNames: ['reason'],
    registers,
    collect() {
      this.reset()
      for (const [reason, count] of readRefusals(gauges)) this.inc({ reason }, count)
    },
  })
}

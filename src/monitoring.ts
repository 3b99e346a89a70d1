import type { NodeBus } from './bus/index.ts'
import type { Clock, Database, DatabaseClock, Logger } from './core/index.ts'
import type { EventHub } from './events/index.ts'
import {
  createAlerter,
  createPrometheusExport,
  createTelemetryExport,
  HealthMonitor,
  type Alert,
  type Alerter,
  type DashboardData,
  type HealthSink,
  type MetricsText,
  type NodeGauges,
  type PrometheusExport,
  type Score,
  type ScoreAlert,
  type TelemetryExport,
  type Violation,
} from './health/index.ts'
import type { LockstepHealth, MonitorOptions, NodeHealth } from './options.ts'
import type { LeaseState, Rollout } from './transaction/index.ts'

export interface MonitoringParts {
  readonly database: Database<unknown>
  readonly clock: Clock
  readonly logger: Logger
  readonly node: () => string
  readonly databaseClock: DatabaseClock
  readonly hub: () => EventHub
  readonly bus: () => NodeBus
  readonly rollout: Rollout
  readonly openOperations: () => number
  readonly connections: () => number
  readonly outboundBytes: () => number
  readonly refusals: () => Readonly<Record<string, number>>
  readonly leaseState: () => LeaseState
  /** How long events are kept. */
  readonly eventRetentionMs: number
  /** How the node is, apart from what is measured. */
  readonly nodeHealth: () => NodeHealth
}

/** How far the layers drift from the commit, as this node and the database know it. */
export class Health {
  readonly monitor: HealthMonitor
  readonly #parts: MonitoringParts
  readonly #alerter: Alerter
  readonly #prometheus: PrometheusExport
  readonly #telemetry: TelemetryExport

  /** @throws LS_CONFIG_INVALID */
  constructor(parts: MonitoringParts, options: MonitorOptions = {}) {
    const { database, clock, logger, rollout } = parts
    const { alerts = {}, ...settings } = options
    const { thresholds } = settings
    this.#parts = parts
    this.#alerter = createAlerter({ ...alerts, clock, logger })
    const exported = { gauges: this.#gauges(), ...(thresholds === undefined ? {} : { thresholds }) }
    this.#prometheus = createPrometheusExport(exported)
    this.#telemetry = createTelemetryExport(exported)
    const teller: HealthSink = { operation() {}, gap() {}, violation: (violation) => this.#tell(violation) }
    this.monitor = new HealthMonitor({
      ...settings,
      own: database.own,
      schema: database.schema,
      clock,
      logger,
      node: parts.node,
      databaseClock: parts.databaseClock,
      eventRetentionMs: parts.eventRetentionMs,
      gauges: () => ({
        connections: parts.connections(),
        openOperations: parts.openOperations(),
        bus: parts.bus().health.state,
        channels: parts.hub().gauges(),
      }),
      modes: () => rollout.list(),
      modeOf: (operation, userId) => rollout.settledModeOf(operation, userId),
      alert: (alert) => this.#alerter(toAlert(alert)),
      sinks: [teller, this.#prometheus, this.#telemetry],
    })
  }

  /** How this node is, with the cluster's score, violations and gaps: what `GET /lockstep/health` answers. */
  async report(): Promise<LockstepHealth> {
    return { ...this.#parts.nodeHealth(), ...(await this.monitor.summary()) }
  }

  /** The share of operations whose every layer kept its threshold and boundary. */
  score(options: { readonly windowMinutes?: number } = {}): Promise<Score> {
    return this.monitor.score(options)
  }

  /** The newest hundred of the cluster. */
  violations(): Promise<readonly Violation[]> {
    return this.monitor.violations()
  }

  /** In the text format of Prometheus: what `GET /lockstep/metrics` answers. */
  metrics(): Promise<MetricsText> {
    return this.#prometheus.metrics()
  }

  /** What the dashboard shows. */
  dashboard(options: { readonly minutes?: number } = {}): Promise<DashboardData> {
    return this.monitor.dashboard(options)
  }

  async close(): Promise<void> {
    this.#telemetry.close()
    await this.monitor.close()
    await this.#alerter.close()
  }

  #gauges(): NodeGauges {
    const { connections, openOperations, outboundBytes, refusals, hub, bus, leaseState } = this.#parts
    return {
      score: () => this.monitor.lastScore.overall,
      scoreKinds: () => this.monitor.lastScore.kinds,
      connections,
      openOperations,
      outboundBytes,
      refusals,
      channels: () => hub().channelCount,
      isLeaseHeld: () => leaseState() === 'held',
      isBusUp: () => bus().health.state === 'up',
    }
  }

  #tell(violation: Violation): void {
    const { kind, operationId, detail, at, node, operation } = violation
    this.#alerter({
      id: `${operationId}:${kind}`,
      kind: 'violation',
      at: new Date(at).toISOString(),
      node,
      violation: { kind, count: 1, operationId, detail },
      text: `${kind}: ${detail}${operation === undefined ? '' : ` (operation ${operation})`}`,
    })
  }
}

function toAlert({ id, state, at, node, score, windowMinutes, operations, unhealthy }: ScoreAlert): Alert {
  const figures = `${unhealthy} of ${operations} operations in ${windowMinutes} minutes did not keep in step`
  return {
    id,
    kind: state === 'firing' ? 'score_low' : 'score_recovered',
    at,
    node,
    score,
    windowMinutes,
    text: `the health score is ${score.toFixed(3)}${state === 'firing' ? '' : ' again'}: ${figures}`,
  }
}

import type { NodeBus } from '../bus/index.ts'
import { assertOptions, numberFrom, type Clock, type Database, type Logger } from '../core/index.ts'
import type { EventHub } from '../feeds/index.ts'
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
} from '../monitor/index.ts'
import type { LockstepHealth, MonitorOptions, NodeHealth } from './options.ts'
import type { NodeLease } from '../cluster/index.ts'
import type { Gateway } from '../gateway/index.ts'
import type { TransactionCoordinator } from '../transaction/index.ts'
import type { Rollout } from '../rollout/index.ts'

export interface MonitoringParts {
  readonly database: Database<unknown>
  readonly clock: Clock
  readonly logger: Logger
  readonly lease: NodeLease
  readonly hub: EventHub
  readonly bus: NodeBus
  readonly rollout: Rollout
  readonly coordinator: Pick<TransactionCoordinator<never>, 'openCount'>
  readonly gateway: Gateway
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
    const { database, clock, logger, rollout, lease, coordinator, gateway, bus, hub } = parts
    const { alerts = {}, ...settings } = options
    const { thresholds } = settings
    this.#parts = parts
    this.#alerter = createAlerter({ ...alerts, clock, logger })
    const exported = { gauges: this.#gauges(), ...(thresholds === undefined ? {} : { thresholds }) }
    this.#prometheus = createPrometheusExport(exported)
    this.#telemetry = createTelemetryExport(exported)
    const alertSink: HealthSink = {
      operation() {},
      gap() {},
      violation: (violation) => this.#alert(violation),
    }
    this.monitor = new HealthMonitor({
      ...settings,
      own: database.own,
      schema: database.schema,
      clock,
      logger,
      node: () => lease.node,
      databaseClock: lease.databaseClock,
      eventRetentionMs: parts.eventRetentionMs,
      gauges: () => ({
        connections: gateway.connections(),
        openOperations: coordinator.openCount,
        bus: bus.health.state,
        channels: hub.gauges(),
      }),
      modes: () => rollout.list(),
      modeOf: (operation, userId) => rollout.settledModeOf(operation, userId),
      alert: (alert) => this.#alerter(toAlert(alert)),
      sinks: [alertSink, this.#prometheus, this.#telemetry],
    })
  }

  /** How this node is, with the cluster's score, violations and gaps: what `GET /lockstep/health` answers. */
  async report(): Promise<LockstepHealth> {
    return { ...this.#parts.nodeHealth(), ...(await this.monitor.summary()) }
  }

  /** The share of operations whose every layer kept its threshold and boundary. */
  async score(options: { readonly windowMinutes?: number } = {}): Promise<Score> {
    assertOptions<typeof options>(
      'health.score',
      options,
      { windowMinutes: numberFrom(0) },
      'health.score({ windowMinutes })',
    )
    return this.monitor.score(options)
  }

  /** The newest hundred of the cluster. */
  violations(): Promise<readonly Violation[]> {
    return this.monitor.violations()
  }

  /** Metrics in the text format of Prometheus, as `GET /lockstep/metrics` answers. */
  metrics(): Promise<MetricsText> {
    return this.#prometheus.metrics()
  }

  /** Data of the dashboard. */
  async dashboard(options: { readonly minutes?: number } = {}): Promise<DashboardData> {
    assertOptions<typeof options>(
      'health.dashboard',
      options,
      { minutes: numberFrom(0) },
      'health.dashboard({ minutes })',
    )
    return this.monitor.dashboard(options)
  }

  async close(): Promise<void> {
    this.#telemetry.close()
    await this.monitor.close()
    await this.#alerter.close()
  }

  #gauges(): NodeGauges {
    const { coordinator, gateway, hub, bus, lease } = this.#parts
    return {
      score: () => this.monitor.lastScore.overall,
      scoreKinds: () => this.monitor.lastScore.kinds,
      connections: () => gateway.connections(),
      openOperations: () => coordinator.openCount,
      outboundBytes: () => gateway.outboundBytes(),
      refusals: () => gateway.refusals,
      channels: () => hub.channelCount,
      isLeaseHeld: () => lease.state === 'held',
      isBusUp: () => bus.health.state === 'up',
    }
  }

  #alert(violation: Violation): void {
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

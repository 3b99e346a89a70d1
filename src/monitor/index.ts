/**
 * Room `monitor`: how far the layers drift from the commit. It knows gaps, violations, the score, alerts and
 * roll-ups; it refuses to know the insides of the rooms that report to it.
 */
export type { HealthSummary } from './model/health-summary.ts'
export { HealthMonitor } from './monitor.ts'
export type { ChannelGauge } from './model/channel-gauge.ts'
export { monitorShape } from './option-shapes.ts'
export { isMeasuring, type Gauges, type HealthMonitorOptions } from './monitor-options.ts'
export type { ScoreAlert } from './alert/score-alert.ts'
export { createAlerter, type Alert, type Alerter, type AlertOptions } from './alert/alerter.ts'
export type { WebhookOptions } from './alert/webhook-options.ts'
export type * from './model/dashboard-data.ts'
export type { NodeGauges } from './export/node-gauges.ts'
export {
  createPrometheusExport,
  type MetricsText,
  type PrometheusExport,
  type PrometheusOptions,
} from './export/prometheus.ts'
export type { HealthSink } from './measure/sink.ts'
export { createTelemetryExport, type TelemetryExport, type TelemetryOptions } from './export/telemetry.ts'
export type { GapKind, Thresholds, Violation, ViolationKind } from './model/kinds.ts'

/**
 * Room `health`: how far the layers drift from the commit. It knows gaps, violations, the score, alerts and
 * roll-ups; it refuses to know the insides of the rooms that report to it.
 */
export { HealthMonitor, type HealthSummary } from './monitor.ts'
export type { ChannelGauge, Gauges, HealthMonitorOptions } from './options.ts'
export type { ScoreAlert } from './alert-state.ts'
export { createAlerter, type Alert, type Alerter, type AlertOptions } from './alerts.ts'
export type { WebhookOptions } from './alert-webhook.ts'
export type * from './dashboard-data.ts'
export type { NodeGauges } from './node-gauges.ts'
export {
  createPrometheusExport,
  type MetricsText,
  type PrometheusExport,
  type PrometheusOptions,
} from './prometheus.ts'
export type { HealthSink } from './sink.ts'
export { createTelemetryExport, type TelemetryExport, type TelemetryOptions } from './telemetry.ts'
export type { GapKind, Thresholds, Violation, ViolationKind } from './kinds.ts'

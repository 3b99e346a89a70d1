import type { Clock, DatabaseClock, Logger, Mode, Queryable } from '../core/index.ts'
import type { ScoreAlert } from './alert/score-alert.ts'
import type { DashboardMode, MonitorLevel } from './model/dashboard-data.ts'
import { defaultThresholds, type Thresholds } from './model/kinds.ts'
import type { ChannelGauge } from './model/channel-gauge.ts'
import type { HealthSink } from './measure/sink.ts'

/** Gauges of a node at this moment. */
export interface Gauges {
  readonly connections: number
  readonly openOperations: number
  /** State of the bus, such as `up`. */
  readonly bus: string
  /** Read up to 5,000. */
  readonly channels: Iterable<ChannelGauge>
}

export interface HealthMonitorOptions {
  readonly own: Queryable
  /** Quoted, as `Database.schema`. */
  readonly schema: string
  readonly clock: Clock
  readonly logger: Logger
  readonly node: () => string
  readonly databaseClock: DatabaseClock
  readonly gauges: () => Gauges
  /** Default `full`. */
  readonly level?: MonitorLevel | undefined
  /** Share of operations that `sampled` measures, from 0 to 1. Default 1/16. */
  readonly sampleRate?: number | undefined
  readonly thresholds?: Partial<Thresholds> | undefined
  /** Minutes of the window, from 1 to 1,440. Default 60. */
  readonly windowMinutes?: number | undefined
  /** Default 10,000. */
  readonly rollupMs?: number | undefined
  /** Default 0.8. */
  readonly alertBelow?: number | undefined
  /** Default 0.85. */
  readonly recoverAbove?: number | undefined
  readonly sinks?: readonly HealthSink[] | undefined
  /** Called on one node of the cluster for each change of the score's state. */
  readonly alert?: ((alert: ScoreAlert) => void | Promise<void>) | undefined
  readonly modes?: (() => readonly DashboardMode[]) | undefined
  /** How an operation of another node is carried out; what is `off` is not measured. */
  readonly modeOf?: ((operation: string, userId: string) => Mode | undefined) | undefined
  /** Time between two looks at what is waiting. Default 250. */
  readonly tickMs?: number | undefined
  /** How long an operation has been rolled back before its notice is missed. Default 2,000. */
  readonly noticeGraceMs?: number | undefined
  /** How long the log holds events, notices among them. Default 24 hours. */
  readonly eventRetentionMs?: number | undefined
}

export const longestWindowMinutes = 1_440

/** The options with their defaults, each within its bounds. */
export interface MonitorSettings {
  readonly level: MonitorLevel
  readonly sampleRate: number
  readonly thresholds: Thresholds
  readonly windowMinutes: number
  readonly rollupMs: number
  readonly alertBelow: number
  readonly recoverAbove: number
  readonly tickMs: number
  /** How far back it may be asked whether a notice stands in the log: nine tenths of what that holds. */
  readonly noticeReachMs: number
}

export function toSettings(options: HealthMonitorOptions): MonitorSettings {
  const alertBelow = within(options.alertBelow, 0.8, { least: 0, most: 1 })
  return {
    level: options.level ?? 'full',
    sampleRate: within(options.sampleRate, 1 / 16, { least: 0, most: 1 }),
    thresholds: { ...defaultThresholds, ...options.thresholds },
    windowMinutes: toWindow(options.windowMinutes, { most: longestWindowMinutes, otherwise: 60 }),
    rollupMs: within(options.rollupMs, 10_000, { least: 100, most: 60_000 }),
    alertBelow,
    recoverAbove: Math.max(alertBelow, within(options.recoverAbove, 0.85, { least: 0, most: 1 })),
    tickMs: within(options.tickMs, 250, { least: 10, most: 1_000 }),
    noticeReachMs: (options.eventRetentionMs ?? 86_400_000) * 0.9,
  }
}

/** Whole minutes from 1 to `most`. */
export function toWindow(
  minutes: number | undefined,
  { most, otherwise }: { readonly most: number; readonly otherwise: number },
): number {
  return Math.ceil(within(minutes, otherwise, { least: 1, most }))
}

function within(
  value: number | undefined,
  otherwise: number,
  { least, most }: { readonly least: number; readonly most: number },
): number {
  if (value === undefined || Number.isNaN(value)) return otherwise
  return Math.max(least, Math.min(most, value))
}

/** Whether gaps are measured at this level at all. Default: that of a monitor without options. */
export function isMeasuring(level: MonitorLevel = 'full'): boolean {
  return level === 'full' || level === 'sampled'
}

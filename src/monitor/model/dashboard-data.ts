import type { Layer, Mode } from '../../core/index.ts'
import type { GapKind, Thresholds, Violation, ViolationKind } from './kinds.ts'

/** How much is measured: nothing, outcomes and what the log says, a sample of operations, or all of them. */
export type MonitorLevel = 'off' | 'counters' | 'sampled' | 'full'

/** Milliseconds with up to three decimals; of the distance |gap|, so that an early one cannot offset a late one. */
export interface GapFigures {
  readonly count: number
  readonly average: number
  readonly p50: number
  readonly p99: number
  readonly max: number
  /** The smallest signed gap: below 0 when something came too early. */
  readonly min: number
  /** How many were negative. */
  readonly early: number
  /** How many were above the threshold. */
  readonly over: number
  readonly thresholdMs: number
}

export type Gaps = Readonly<Record<GapKind, GapFigures>>

export type ViolationCounts = Readonly<Record<ViolationKind, number>>

export type AlertState = 'ok' | 'firing'

/** Scores from 0 to 1; see docs/reference/health.md for the formula. */
export interface Score {
  /** 1 where nothing was measured; `operations` says so. */
  readonly overall: number
  /** Operations that ended in the window, on all nodes, in modes that are measured. */
  readonly operations: number
  /** Distinct operations with a gap above its threshold, a negative gap, or a violation. */
  readonly unhealthy: number
  /** Share of its gaps within 0 and the threshold; null where there was none. */
  readonly kinds: Readonly<Record<GapKind, number | null>>
  readonly windowMinutes: number
}

/** A point of the score's history; `history` holds at most 360. */
export interface HistoryPoint {
  /** ISO 8601, start of the span that the point covers. */
  readonly at: string
  /** Null where no operation ended and none was unhealthy. */
  readonly score: number | null
  readonly operations: number
  readonly unhealthy: number
  /** Kinds without a gap in the span are absent. */
  readonly gaps: Readonly<
    Partial<
      Record<
        GapKind,
        { readonly count: number; readonly p50: number; readonly p99: number; readonly max: number }
      >
    >
  >
}

export interface DashboardLayer {
  readonly layer: Layer
  readonly channel?: string
  /** Negative when it came before the end of its operation. */
  readonly gapMs: number
  /** Milliseconds by which `gapMs` may be wrong in either direction. */
  readonly errorMs?: number
}

export interface DashboardOperation {
  readonly id: string
  readonly name: string
  readonly user: string
  readonly node: string
  readonly mode: Mode
  readonly outcome: 'committed' | 'rolled_back'
  /** ISO 8601. */
  readonly endedAt: string
  readonly durationMs: number
  /** Layers that the operation is known to have reached so far; at most 16. */
  readonly layers: readonly DashboardLayer[]
  /** Every layer so far kept its threshold and its boundary. */
  readonly kept: boolean
}

export interface DashboardRollback {
  readonly id: string
  readonly name: string
  readonly user: string
  /** ISO 8601. */
  readonly at: string
  /** The notice is in the log, where the user's client finds it. */
  readonly told: boolean
  readonly userMessage: string | null
}

export interface DashboardNode {
  readonly node: string
  readonly isThis: boolean
  readonly live: boolean
  /** Rest of the node's lease; negative since it ran out, null when it was given back. */
  readonly leaseMs: number | null
  /** ISO 8601. */
  readonly startedAt: string
  /** Null where the node has written no roll-up in the window. */
  readonly connections: number | null
  readonly openOperations: number | null
  readonly bus: string | null
  readonly score: number | null
  readonly operations: number
}

export interface DashboardChannel {
  readonly channel: string
  readonly subscribers: number
  /** Events a second over the last seconds, on this node. */
  readonly perSecond: number
  /** Last offset in the log. */
  readonly head: number
  /** How long the events of this node's subscribers have been behind the head; 0 when level. */
  readonly lagMs: number
}

export interface DashboardMode {
  readonly operation: string
  readonly mode: Mode
  readonly percentage: number
  readonly otherwise: Mode
}

/** Answer of `GET /lockstep/dashboard/data?minutes=60`. All times are ISO 8601 by the database's clock. */
export interface DashboardData {
  readonly at: string
  readonly node: string
  readonly level: MonitorLevel
  readonly windowMinutes: number
  /** False: the database is away, and what is shown is what this node has in memory. */
  readonly isFresh: boolean
  readonly score: Omit<Score, 'windowMinutes'> & {
    readonly alert: AlertState
    /** Time since which the alert has been in its state; null where it never changed. */
    readonly since: string | null
    readonly alertBelow: number
    readonly recoverAbove: number
  }
  readonly modes: readonly DashboardMode[]
  /** Oldest first. */
  readonly history: readonly HistoryPoint[]
  readonly gaps: Gaps
  readonly thresholds: Thresholds
  readonly violations: {
    readonly counts: ViolationCounts
    /** Violations, newest first, at most 100. */
    readonly recent: readonly Violation[]
    /** Found but not stored, because there were too many at once. */
    readonly notStored: number
  }
  /** Reports that the watcher had to let go of unexamined, on all nodes. 0 unless it is flooded. */
  readonly unwatched: number
  /** Operations of this node, at most 50, newest first. */
  readonly operations: readonly DashboardOperation[]
  readonly rollbacks: {
    readonly told: number
    readonly untold: number
    /** Rollbacks, newest first, at most 50. */
    readonly recent: readonly DashboardRollback[]
  }
  readonly nodes: readonly DashboardNode[]
  /** The busiest of this node, at most 50. */
  readonly channels: readonly DashboardChannel[]
}

import type { AddedLatency } from './latency.ts'
import type { Verdict } from './judge.ts'
import type { ScenarioResult } from './scenario.ts'

/** Violations by kind, as the number of operations that have one. */
export type Violations = Readonly<Record<string, number>>

/** Results of a pass, measured from outside. */
export interface Figures {
  readonly operations: number
  readonly unhealthy: number
  /** Score by the formula of docs/reference/health.md, 1 − unhealthy ÷ operations, on outside observations. */
  readonly score: number
  readonly violations: Violations
  readonly lost: number
  readonly repeated: number
  readonly gaps: {
    readonly count: number
    readonly average: number
    readonly p99: number
    readonly smallest: number
  }
  readonly rollbacks: number
  readonly told: number
}

/** Results of the same pass according to Lockstep's own monitor. */
export interface MonitorFigures {
  readonly operations: number
  readonly score: number
  readonly violations: Violations
  readonly averageGapMs: number
  readonly p99GapMs: number
  /** Operations that the witness found something in, and the monitor did not: `id kind`. */
  readonly missed: readonly string[]
  /** The monitor found the untold rollback that was planted at the end, so it was still running. */
  readonly isAwake: boolean
}

export interface PassResult {
  readonly mode: 'off' | 'observe' | 'enforce'
  readonly seconds: number
  readonly scenarios: readonly ScenarioResult[]
  readonly figures: Figures
  readonly monitor: MonitorFigures | undefined
  readonly goldenPath: { readonly turns: number; readonly good: number }
  readonly agentSteps: { readonly steps: number; readonly agreeing: number }
  readonly latency: AddedLatency | undefined
  /** Largest resident set of the process: the server, the clients and the witness together. */
  readonly memoryMb: number
  readonly clockErrorMs: number
}

export const violationKinds = [
  'websocket_before_commit',
  'missing_rollback_notification',
  'transaction_boundary_violation',
] as const

/**
 * Adds up the verdicts of a pass.
 * @param phantoms events of operations that nobody asked for
 */
export function toFigures(verdicts: readonly Verdict[], phantoms: number): Figures {
  const count = (holds: (verdict: Verdict) => boolean): number => verdicts.filter(holds).length
  const sum = (of: (verdict: Verdict) => number): number => verdicts.reduce((all, one) => all + of(one), 0)
  const unhealthy = count(({ healthy }) => !healthy)
  const gaps = verdicts.flatMap((verdict) => verdict.gaps)
  // Averages the distance, as the monitor does, so that an early event cannot offset a late one.
  const distances = gaps.map(Math.abs).toSorted((a, b) => a - b)
  return {
    operations: verdicts.length,
    unhealthy,
    score: verdicts.length === 0 ? 0 : 1 - unhealthy / verdicts.length,
    violations: {
      websocket_before_commit: count(({ early }) => early),
      missing_rollback_notification: count(({ untold }) => untold),
      transaction_boundary_violation: phantoms + count(({ contradicted }) => contradicted),
    },
    lost: sum(({ lost }) => lost),
    repeated: sum(({ repeated }) => repeated),
    gaps: {
      count: distances.length,
      average: distances.reduce((all, one) => all + one, 0) / distances.length,
      p99: distances[Math.ceil(distances.length * 0.99) - 1] ?? NaN,
      smallest: Math.min(...gaps),
    },
    rollbacks: count(({ outcome }) => outcome === 'rolled_back'),
    told: count(({ outcome, untold }) => outcome === 'rolled_back' && !untold),
  }
}

export const violationKeys = (verdicts: readonly Verdict[]): readonly string[] =>
  verdicts.flatMap(({ operationId, early, untold }) => [
    ...(early ? [`${operationId} websocket_before_commit`] : []),
    ...(untold ? [`${operationId} missing_rollback_notification`] : []),
  ])

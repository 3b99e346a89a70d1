import type { AlertState, ViolationCounts } from '../model/dashboard-data.ts'

/** Message for an operator when the score leaves its bounds, and when it is back. */
export interface ScoreAlert {
  /** The same for all copies of one change of state in the cluster, so that receivers can tell a repeat. */
  readonly id: string
  readonly name: 'score'
  readonly state: 'firing' | 'recovered'
  readonly score: number
  readonly operations: number
  readonly unhealthy: number
  readonly violations: ViolationCounts
  readonly alertBelow: number
  readonly recoverAbove: number
  readonly windowMinutes: number
  /** The node that saw it first, and sends it for all. */
  readonly node: string
  /** ISO 8601, by the database's clock. */
  readonly at: string
}

export interface AlertBounds {
  readonly alertBelow: number
  readonly recoverAbove: number
}

/** Fires below one bound and recovers above another, so that a score near a bound does not flap. */
export function nextAlertState(state: AlertState, score: number, bounds: AlertBounds): AlertState {
  if (state === 'ok') return score < bounds.alertBelow ? 'firing' : 'ok'
  return score > bounds.recoverAbove ? 'ok' : 'firing'
}

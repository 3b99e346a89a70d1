import type { Gaps, ViolationCounts } from './dashboard-data.ts'

/** Figures of the last window: what `GET /lockstep/health` answers of the cluster. */
export interface HealthSummary {
  readonly score: number
  readonly violations: ViolationCounts
  readonly gaps: Gaps
}

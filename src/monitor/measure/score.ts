import type { Score } from '../model/dashboard-data.ts'
import { gapKinds, type GapKind } from '../model/kinds.ts'

export interface GapCounts {
  readonly count: number
  readonly early: number
  readonly over: number
}

export interface ScoreFacts {
  readonly operations: number
  readonly unhealthy: number
  readonly windowMinutes: number
  readonly gaps: (kind: GapKind) => GapCounts | undefined
}

/** The formula of docs/reference/health.md. */
export function toScore({ operations, unhealthy, windowMinutes, gaps }: ScoreFacts): Score {
  const kinds = Object.fromEntries(
    gapKinds.map((kind) => {
      const counts = gaps(kind)
      if (counts === undefined || counts.count === 0) return [kind, null]
      return [kind, (counts.count - counts.early - counts.over) / counts.count]
    }),
  ) as Score['kinds']
  return { overall: overallOf(operations, unhealthy), operations, unhealthy, kinds, windowMinutes }
}

/** Unhealthy operations without one that ended: what was shown belongs to nothing. */
export function overallOf(operations: number, unhealthy: number): number {
  if (operations === 0) return unhealthy === 0 ? 1 : 0
  return Math.max(0, 1 - unhealthy / operations)
}

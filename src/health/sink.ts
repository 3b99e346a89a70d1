import type { EndReport } from '../core/index.ts'
import type { GapKind, Violation } from './kinds.ts'

/** Hears what was measured, as it is measured. Calls return at once and never throw. */
export interface HealthSink {
  operation(report: EndReport): void
  gap(kind: GapKind, gapMs: number): void
  violation(violation: Violation): void
}

import type { OperationReport } from '../../core/index.ts'
import type { GapKind, Violation } from '../model/kinds.ts'

/** Hears what was measured, as it is measured. Calls return at once and never throw. */
export interface HealthSink {
  operation(report: OperationReport): void
  gap(kind: GapKind, gapMs: number): void
  violation(violation: Violation): void
}

import { GapHistogram, type EncodedGaps } from './gap-histogram.ts'
import type { GapKind, ViolationKind } from '../model/kinds.ts'

/** Ids of unhealthy operations that one roll-up names; more are only counted. */
export const mostBreaches = 200

/** Gauges of a node at the end of a roll-up. */
export interface RollUpGauges {
  readonly connections: number
  readonly openOperations: number
  readonly bus: string
}

/** The measurements of one node in some seconds, as they are stored. */
export interface RollUp {
  readonly id: string
  readonly node: string
  /** End of the span, milliseconds since the epoch by the database's clock. */
  readonly atMs: number
  readonly operations: number
  readonly breaches: readonly string[]
  readonly breachesBeyond: number
  /** Reports that were let go of unexamined. */
  readonly unwatched: number
  /** Violations found and not stored, because there were too many at once. */
  readonly notStored: number
  readonly gaps: Readonly<Partial<Record<GapKind, EncodedGaps>>>
  readonly violations: Readonly<Partial<Record<ViolationKind, number>>>
  readonly gauges: RollUpGauges
}

/** Counts what is measured between two roll-ups. */
export class OpenRollUp {
  operations = 0
  unwatched = 0
  notStored = 0
  breachesBeyond = 0
  readonly breaches = new Set<string>()
  readonly gaps = new Map<GapKind, GapHistogram>()
  readonly violations = new Map<ViolationKind, number>()

  gap(kind: GapKind): GapHistogram {
    let histogram = this.gaps.get(kind)
    if (histogram === undefined) this.gaps.set(kind, (histogram = new GapHistogram()))
    return histogram
  }

  /** Call it once for an operation: beyond the bound only the number is kept. */
  breach(operationId: string): void {
    if (this.breaches.size < mostBreaches) this.breaches.add(operationId)
    else this.breachesBeyond += 1
  }

  violation(kind: ViolationKind): void {
    this.violations.set(kind, (this.violations.get(kind) ?? 0) + 1)
  }

  toRollUp(head: Pick<RollUp, 'id' | 'node' | 'atMs' | 'gauges'>): RollUp {
    const { operations, breachesBeyond, unwatched, notStored } = this
    return {
      ...head,
      operations,
      breaches: [...this.breaches],
      breachesBeyond,
      unwatched,
      notStored,
      gaps: Object.fromEntries([...this.gaps].map(([kind, histogram]) => [kind, histogram.encode()])),
      violations: Object.fromEntries(this.violations),
    }
  }
}

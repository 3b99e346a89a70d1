import type { HistoryPoint } from '../model/dashboard-data.ts'
import { GapHistogram, type EncodedGaps } from '../measure/gap-histogram.ts'
import { gapKinds, type GapKind, type Thresholds, type ViolationKind } from '../model/kinds.ts'
import { overallOf } from '../measure/score.ts'
import type { RollUp } from '../measure/open-roll-up.ts'

export const minuteMs = 60_000
/** Nodes that are told apart. */
export const mostNodes = 256

interface NodeCounts {
  operations: number
  unhealthy: number
}

/** Counts of one minute, over all nodes. Which unhealthy operations count here, and not in another minute, `History` decides. */
export class Minute {
  operations = 0
  /** Unhealthy operations that were seen in this minute last. */
  unhealthy = 0
  unwatched = 0
  notStored = 0
  /** Unhealthy operations named in this minute, whether or not they come up again later. */
  readonly ids = new Set<string>()
  /** Unhealthy operations that were not named, or not kept. */
  beyond = 0
  readonly gaps = new Map<GapKind, EncodedGaps>()
  readonly violations = new Map<ViolationKind, number>()
  readonly nodes = new Map<string, NodeCounts>()

  /** Adds all but the unhealthy operations that the roll-up names. */
  add(rollUp: RollUp): void {
    this.operations += rollUp.operations
    this.unwatched += rollUp.unwatched
    this.notStored += rollUp.notStored
    this.unhealthy += rollUp.breachesBeyond
    this.beyond += rollUp.breachesBeyond
    for (const [kind, gaps] of entriesOf(rollUp.gaps)) this.gaps.set(kind, merged(this.gaps.get(kind), gaps))
    for (const [kind, count] of entriesOf(rollUp.violations))
      this.violations.set(kind, (this.violations.get(kind) ?? 0) + count)
    this.#addNode(rollUp)
  }

  #addNode({ node, operations, breaches, breachesBeyond }: RollUp): void {
    const counts = this.nodes.get(node) ?? { operations: 0, unhealthy: 0 }
    counts.operations += operations
    counts.unhealthy += breaches.length + breachesBeyond
    if (this.nodes.size < mostNodes) this.nodes.set(node, counts)
  }
}

/** Point of a chart, from the minutes of its span; `from` is the number of the first one. */
export function toPoint(from: number, minutes: readonly Minute[], thresholds: Thresholds): HistoryPoint {
  const operations = minutes.reduce((sum, minute) => sum + minute.operations, 0)
  const unhealthy = minutes.reduce((sum, minute) => sum + minute.ids.size + minute.beyond, 0)
  const gaps: Partial<Record<GapKind, NonNullable<HistoryPoint['gaps'][GapKind]>>> = {}
  for (const kind of gapKinds) {
    const all = new GapHistogram()
    for (const minute of minutes) addTo(all, minute.gaps.get(kind))
    const { count, p50, p99, max } = all.figures(thresholds[kind])
    if (count > 0) gaps[kind] = { count, p50, p99, max }
  }
  return {
    at: new Date(from * minuteMs).toISOString(),
    score: operations === 0 && unhealthy === 0 ? null : overallOf(operations, unhealthy),
    operations,
    unhealthy,
    gaps,
  }
}

export function addTo(all: GapHistogram, gaps: EncodedGaps | undefined): void {
  if (gaps !== undefined && gaps.count > 0) all.add(gaps)
}

function merged(known: EncodedGaps | undefined, more: EncodedGaps): EncodedGaps {
  if (known === undefined) return more
  const all = new GapHistogram()
  all.add(known)
  all.add(more)
  return all.encode()
}

function entriesOf<Key extends string, Value>(record: Readonly<Partial<Record<Key, Value>>>): [Key, Value][] {
  return Object.entries(record) as [Key, Value][]
}

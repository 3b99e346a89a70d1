import type { Gaps, HistoryPoint, Score, ViolationCounts } from '../model/dashboard-data.ts'
import { GapHistogram } from '../measure/gap-histogram.ts'
import { gapKinds, violationKinds, type GapKind, type Thresholds } from '../model/kinds.ts'
import { overallOf, toScore } from '../measure/score.ts'
import type { RollUp, RollUpGauges, OpenRollUp } from '../measure/open-roll-up.ts'
import { addTo, Minute, minuteMs, mostNodes, toPoint } from './minute.ts'

/** Distinct unhealthy operations that are told apart by id, over all nodes; more are only counted. */
const mostIds = 50_000
const mostPoints = 360

export interface NodeStanding {
  readonly operations: number
  readonly score: number | null
  readonly gauges: RollUpGauges
}

/**
 * The roll-ups of all nodes, merged by minute. A window of N minutes begins with the full minute N minutes ago, so
 * that every node, and the SQL of docs/reference/health.md, cut it at the same place.
 */
export class History {
  readonly #horizonMinutes: number
  readonly #minutes = new Map<number, Minute>()
  /** The minute an unhealthy operation was seen in last: it counts once, however many nodes and minutes name it. */
  readonly #lastMinute = new Map<string, number>()
  /** Number of ids in all minutes together. */
  #namedIds = 0
  readonly #gauges = new Map<string, { readonly atMs: number; readonly gauges: RollUpGauges }>()

  constructor(horizonMinutes: number) {
    this.#horizonMinutes = horizonMinutes
  }

  add(rollUp: RollUp): void {
    const index = Math.floor(rollUp.atMs / minuteMs)
    if (!Number.isSafeInteger(index)) return
    const minute = this.#minute(index)
    minute.add(rollUp)
    for (const id of rollUp.breaches) this.#addBreach(id, index, minute)
    this.#addNode(rollUp)
  }

  trim(nowMs: number): void {
    const first = firstMinute(nowMs, this.#horizonMinutes)
    for (const [index, minute] of this.#minutes) {
      if (index >= first) continue
      for (const id of minute.ids) if (this.#lastMinute.get(id) === index) this.#lastMinute.delete(id)
      this.#namedIds -= minute.ids.size
      this.#minutes.delete(index)
    }
    for (const [node, { atMs }] of this.#gauges) if (atMs < first * minuteMs) this.#gauges.delete(node)
  }

  /** `live` is what this node has measured since its last roll-up. */
  score(windowMinutes: number, nowMs: number, live: OpenRollUp): Score {
    const first = firstMinute(nowMs, windowMinutes)
    let operations = live.operations
    let unhealthy = live.breachesBeyond
    for (const id of live.breaches)
      if ((this.#lastMinute.get(id) ?? Number.NEGATIVE_INFINITY) < first) unhealthy += 1
    const minutes = this.#since(first)
    for (const minute of minutes) {
      operations += minute.operations
      unhealthy += minute.unhealthy
    }
    const gaps = (kind: GapKind) => {
      const { count = 0, early = 0, over = 0 } = live.gaps.get(kind) ?? {}
      const sum = { count, early, over }
      for (const { gaps: measured } of minutes) {
        const figures = measured.get(kind)
        sum.count += figures?.count ?? 0
        sum.early += figures?.early ?? 0
        sum.over += figures?.over ?? 0
      }
      return sum
    }
    return toScore({ operations, unhealthy, windowMinutes, gaps })
  }

  gaps(windowMinutes: number, nowMs: number, live: OpenRollUp, thresholds: Thresholds): Gaps {
    const minutes = this.#since(firstMinute(nowMs, windowMinutes))
    return Object.fromEntries(
      gapKinds.map((kind) => {
        const all = new GapHistogram()
        for (const minute of minutes) addTo(all, minute.gaps.get(kind))
        addTo(all, live.gaps.get(kind)?.encode())
        return [kind, all.figures(thresholds[kind])]
      }),
    ) as Gaps
  }

  violations(windowMinutes: number, nowMs: number, live: OpenRollUp): ViolationCounts {
    const minutes = this.#since(firstMinute(nowMs, windowMinutes))
    return Object.fromEntries(
      violationKinds.map((kind) => [
        kind,
        minutes.reduce(
          (sum, minute) => sum + (minute.violations.get(kind) ?? 0),
          live.violations.get(kind) ?? 0,
        ),
      ]),
    ) as ViolationCounts
  }

  /** Violations that were found and not stored, and reports that were let go of unexamined. */
  losses(
    windowMinutes: number,
    nowMs: number,
    live: OpenRollUp,
  ): { readonly unwatched: number; readonly notStored: number } {
    const losses = { unwatched: live.unwatched, notStored: live.notStored }
    for (const minute of this.#since(firstMinute(nowMs, windowMinutes))) {
      losses.unwatched += minute.unwatched
      losses.notStored += minute.notStored
    }
    return losses
  }

  /** Oldest first, at most 360 points; spans are whole minutes. */
  points(windowMinutes: number, nowMs: number, thresholds: Thresholds): HistoryPoint[] {
    const first = firstMinute(nowMs, windowMinutes)
    const span = Math.max(1, Math.ceil((windowMinutes + 1) / mostPoints))
    const points: HistoryPoint[] = []
    for (let from = first; from <= Math.floor(nowMs / minuteMs); from += span) {
      const minutes = [...this.#minutes].filter(([index]) => index >= from && index < from + span)
      points.push(
        toPoint(
          from,
          minutes.map(([, minute]) => minute),
          thresholds,
        ),
      )
    }
    return points
  }

  node(node: string, windowMinutes: number, nowMs: number): NodeStanding | undefined {
    const gauges = this.#gauges.get(node)?.gauges
    if (gauges === undefined) return undefined
    let operations = 0
    let unhealthy = 0
    for (const minute of this.#since(firstMinute(nowMs, windowMinutes))) {
      operations += minute.nodes.get(node)?.operations ?? 0
      unhealthy += minute.nodes.get(node)?.unhealthy ?? 0
    }
    const isEmpty = operations === 0 && unhealthy === 0
    return { operations, score: isEmpty ? null : overallOf(operations, unhealthy), gauges }
  }

  #minute(index: number): Minute {
    let minute = this.#minutes.get(index)
    if (minute === undefined) this.#minutes.set(index, (minute = new Minute()))
    return minute
  }

  #since(first: number): Minute[] {
    return [...this.#minutes].filter(([index]) => index >= first).map(([, minute]) => minute)
  }

  #addBreach(id: string, index: number, minute: Minute): void {
    if (minute.ids.has(id)) return
    const last = this.#lastMinute.get(id)
    if (this.#namedIds >= mostIds) {
      // Count the operation without its id: here, and not again where it was seen last.
      minute.beyond += 1
      if (last === undefined) minute.unhealthy += 1
      return
    }
    this.#namedIds += 1
    minute.ids.add(id)
    if (last !== undefined && last > index) return
    const before = last === undefined ? undefined : this.#minutes.get(last)
    if (before !== undefined) before.unhealthy -= 1
    minute.unhealthy += 1
    this.#lastMinute.set(id, index)
  }

  #addNode({ node, atMs, gauges }: RollUp): void {
    const known = this.#gauges.get(node)
    if (known === undefined ? this.#gauges.size < mostNodes : known.atMs < atMs) {
      this.#gauges.set(node, { atMs, gauges })
    }
  }
}

/** Start of a window, as the number of its first minute since the epoch. */
export function firstMinute(nowMs: number, windowMinutes: number): number {
  return Math.floor(nowMs / minuteMs) - windowMinutes
}

import type { DashboardOperation } from '../../../src/monitor/model/dashboard-data.ts'

/** A common time line: signed, logarithmic beyond 1 ms, 0 where the operation ended. */
export interface TimelineScale {
  /** Place of a time in per cent of the width, within 0 and 100. */
  readonly place: (ms: number) => number
  readonly ticks: readonly number[]
}

const longestMs = 100_000

export function timelineScale(operations: readonly DashboardOperation[]): TimelineScale {
  let before = 10
  let after = 100
  for (const { durationMs, layers } of operations) {
    before = Math.max(before, durationMs, ...layers.map(({ gapMs }) => -gapMs))
    after = Math.max(after, ...layers.map(({ gapMs }) => gapMs))
  }
  // Whole decades, so that the line does not move with every operation.
  const left = decadeAbove(before)
  const right = decadeAbove(after)
  const zero = distance(left) / (distance(left) + distance(right))
  const width = 1 / (distance(left) + distance(right))
  return {
    place: (ms) => 100 * Math.max(0, Math.min(1, zero + Math.sign(ms) * distance(Math.abs(ms)) * width)),
    ticks: [
      ...decades(left)
        .map((ms) => -ms)
        .toReversed(),
      0,
      ...decades(right),
    ],
  }
}

const distance = (ms: number): number => Math.log10(1 + ms)

const decadeAbove = (ms: number): number => Math.min(longestMs, 10 ** Math.ceil(Math.log10(ms)))

function decades(outermost: number): number[] {
  const found: number[] = []
  for (let ms = outermost; ms >= 10; ms /= 10) found.unshift(ms)
  return found
}

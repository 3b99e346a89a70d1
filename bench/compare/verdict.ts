import { intervalOf, median, ratiosOf, type Interval, type Rounds } from '../harness/rounds.ts'
import type { Figure, Measured } from './compared-lane.ts'

export const sides = ['base', 'now'] as const
export type Side = (typeof sides)[number]

/** A figure of two builds. A ratio above 1 favours the working tree, also for figures that are better when lower. */
export interface Compared extends Interval {
  readonly figure: Figure
  readonly base: number
  readonly now: number
  readonly ratio: number
}

/** A ratio below this is a fall, where chance is no explanation. */
export const leastRatio = 0.97
/** Least number of rounds whose lowest and highest enclose the median with a confidence of 95 %. */
export const leastRounds = 6

/** The sets are of rounds whose processes were started together. */
export function compared(figure: Figure, sets: readonly Rounds<Side, Measured>[], exact = false): Compared {
  const of = (measured: Measured): number => measured[figure.name] ?? Number.NaN
  const groups = sets.map(({ base, now }) =>
    figure.better === 'higher' ? ratiosOf(now, base, of) : ratiosOf(base, now, of),
  )
  const medianOfSide = (side: Side): number => median(sets.flatMap((set) => set[side].map(of)))
  return {
    figure,
    base: medianOfSide('base'),
    now: medianOfSide('now'),
    ratio: median(groups.flat()),
    ...(exact || groups.flat().length >= leastRounds ? intervalOf(groups) : anything),
  }
}

const anything: Interval = { low: Number.NEGATIVE_INFINITY, high: Number.POSITIVE_INFINITY }

/** True for a figure that is surely lower; a figure that was not measured has not fallen. */
export const hasFallen = ({ ratio, high }: Compared): boolean => ratio < leastRatio && high < 1

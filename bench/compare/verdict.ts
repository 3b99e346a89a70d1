import { intervalOf, median, ratiosOf, type Interval, type Rounds } from '../harness/rounds.ts'
import type { Figure, Measured } from './compared-lane.ts'

export const sides = ['base', 'now'] as const
export type Side = (typeof sides)[number]

/** One figure of two builds. A ratio above 1 is in favour of the working tree, also for what is better when it is lower. */
export interface Compared extends Interval {
  readonly figure: Figure
  readonly base: number
  readonly now: number
  readonly ratio: number
}

/** A ratio below this is a fall, where chance is no explanation. */
export const leastRatio = 0.97
/** Of fewer rounds, the lowest and the highest do not enclose the median with a confidence of 95 %. */
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

/** What was not measured has not fallen. */
export const hasFallen = ({ ratio, high }: Compared): boolean => ratio < leastRatio && high < 1

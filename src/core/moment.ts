import type { Clock } from './clock.ts'

/** A point in time by both clocks: either of them may stand still while a machine sleeps. */
export interface Moment {
  readonly monotonicMs: number
  readonly wallMs: number
}

export function momentOf(clock: Clock): Moment {
  return { monotonicMs: clock.monotonic(), wallMs: clock.now() }
}

/** How long ago it was, by the clock that has gone further. */
export function ageMs(moment: Moment, clock: Clock): number {
  return Math.max(clock.monotonic() - moment.monotonicMs, clock.now() - moment.wallMs)
}

import type { Clock } from '../../core/index.ts'
import type { Gaps } from '../model/dashboard-data.ts'

const keptMs = 1_000

/** Gaps of the window that was asked for last, kept for a second: they are summed over all of its minutes. */
export class KeptGaps {
  readonly #clock: Clock
  #known: { readonly atMs: number; readonly window: number; readonly gaps: Gaps } | undefined

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** @param window minutes. @param sum asked where nothing is kept */
  of(window: number, sum: () => Gaps): Gaps {
    const atMs = this.#clock.monotonic()
    const known = this.#known
    if (known !== undefined && known.window === window && atMs - known.atMs < keptMs) return known.gaps
    const gaps = sum()
    this.#known = { atMs, window, gaps }
    return gaps
  }
}

/** Limits how much one peer may ask for: `perSecond` sustained, twice that in a burst. */
export class TokenBucket {
  readonly #perSecond: number
  #left: number
  #countedAt: number

  constructor(perSecond: number, monotonicMs: number) {
    this.#perSecond = perSecond
    this.#left = 2 * perSecond
    this.#countedAt = monotonicMs
  }

  /** @param cost how many this counts for; what goes beyond the tokens left is paid for by those that follow */
  take(monotonicMs: number, cost = 1): boolean {
    const earned = ((monotonicMs - this.#countedAt) / 1_000) * this.#perSecond
    this.#left = Math.min(2 * this.#perSecond, this.#left + earned)
    this.#countedAt = monotonicMs
    if (this.#left < 1) return false
    this.#left -= cost
    return true
  }
}

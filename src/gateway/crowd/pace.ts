/** Seconds' worth of commands that may come at once: a page that reconnects joins its channels and sends its calls. */
const burstSeconds = 5
/** The longest pause of a connection, in milliseconds: the answer to a ping has to be read, too. */
const longestWaitMs = 2_000

/** How fast the commands of one user are read, over all of their connections. */
export class Pace {
  readonly #perSecond: number
  #left: number
  #countedAt: number

  constructor(perSecond: number, monotonicMs: number) {
    this.#perSecond = perSecond
    this.#left = burstSeconds * perSecond
    this.#countedAt = monotonicMs
  }

  /**
   * Counts what was read.
   * @returns how long to read nothing more, in milliseconds; mostly 0
   */
  charge(cost: number, monotonicMs: number): number {
    this.#left = this.#leftAt(monotonicMs) - cost
    this.#countedAt = monotonicMs
    return this.#left >= 0 ? 0 : Math.min(longestWaitMs, (-this.#left / this.#perSecond) * 1_000)
  }

  /** Whether a whole burst may come again, as from a user who has sent nothing yet. */
  isRestored(monotonicMs: number): boolean {
    return this.#leftAt(monotonicMs) >= burstSeconds * this.#perSecond
  }

  #leftAt(monotonicMs: number): number {
    const earned = ((monotonicMs - this.#countedAt) / 1_000) * this.#perSecond
    return Math.min(burstSeconds * this.#perSecond, this.#left + earned)
  }
}

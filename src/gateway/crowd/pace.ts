import type { Strain } from './strain.ts'

/** Seconds' worth of commands that may come at once: a page that reconnects joins its channels and sends its calls. */
const burstSeconds = 5
/** Commands that may come at once, however slow the pace is at the time: as many as such a page needs. */
const leastBurst = 256
/** The longest pause of a user, in milliseconds, while the node is at ease, and while users are read more slowly. */
const longestWaitMs = { atEase: 2_000, strained: 10_000 }
/** Milliseconds in which two thirds of what a user asked for is forgotten. */
const memoryMs = 10_000

/** How fast the commands of one user are read, over all of their connections. */
export class Pace {
  readonly #strain: Strain
  #left: number
  #countedAt: number
  /** Commands that were asked for lately. */
  #asked = 0
  #askedAt = 0

  constructor(strain: Strain, monotonicMs: number) {
    this.#strain = strain
    this.#left = this.#burstAt(monotonicMs)
    this.#countedAt = monotonicMs
  }

  /**
   * Counts what was read.
   * @returns how long to read nothing more, in milliseconds; mostly 0
   */
  charge(cost: number, monotonicMs: number): number {
    this.#left = this.#leftAt(monotonicMs) - cost
    this.#countedAt = monotonicMs
    if (this.#left >= 0) return 0
    const waitMs = (-this.#left / this.#strain.perSecondAt(monotonicMs)) * 1_000
    return Math.min(this.longestWaitAt(monotonicMs), waitMs)
  }

  /** Milliseconds after which one more command is read, however much the user has sent. */
  longestWaitAt(monotonicMs: number): number {
    const isStrained = this.#strain.perSecondAt(monotonicMs) < this.#strain.most
    return isStrained ? longestWaitMs.strained : longestWaitMs.atEase
  }

  /** Counts what the user asks for of their own accord: the answer to a ping is no sign of it. */
  noteAsked(cost: number, monotonicMs: number): void {
    this.#asked = this.#askedLately(monotonicMs) + cost
    this.#askedAt = monotonicMs
  }

  /** Commands a second that the user has asked for lately. */
  rateAt(monotonicMs: number): number {
    return this.#askedLately(monotonicMs) / (memoryMs / 1_000)
  }

  /** Whether a whole burst may come again, as from a user who has sent nothing yet. */
  isRestored(monotonicMs: number): boolean {
    return this.#leftAt(monotonicMs) >= this.#burstAt(monotonicMs)
  }

  #askedLately(monotonicMs: number): number {
    return this.#asked === 0 ? 0 : this.#asked * Math.exp((this.#askedAt - monotonicMs) / memoryMs)
  }

  #burstAt(monotonicMs: number): number {
    const { most } = this.#strain
    return Math.min(
      burstSeconds * most,
      Math.max(leastBurst, burstSeconds * this.#strain.perSecondAt(monotonicMs)),
    )
  }

  #leftAt(monotonicMs: number): number {
    const earned = ((monotonicMs - this.#countedAt) / 1_000) * this.#strain.perSecondAt(monotonicMs)
    return Math.min(this.#burstAt(monotonicMs), this.#left + earned)
  }
}

import { Ring, type Clock, type RingEntry } from '../../core/index.ts'
import type { Pace } from './pace.ts'

/** A connection that is to be read on. */
export interface Reader {
  /** Reads on, and waits again where its user's pace is used up before all has been read. */
  readOn(): void
}

interface Waiting {
  readonly reader: Reader
  /** Monotonic time, in milliseconds. */
  readonly since: number
}

/** A pace that is used up is looked at again after so long, in milliseconds: one command is not worth a timer. */
const leastWaitMs = 10

/**
 * Connections of one user that wait until more may be read of them. They share one timer and are read on in turn: each
 * with a timer of its own, a hundred would each be read a little too far at the same moment.
 */
export class ReadingTurns {
  readonly #pace: Pace
  readonly #clock: Clock
  readonly #waiting = new Ring<Waiting>()
  #isScheduled = false
  /** Monotonic time at which a connection was read on last. */
  #readAt = -Infinity

  constructor(pace: Pace, clock: Clock) {
    this.#pace = pace
    this.#clock = clock
  }

  /** @returns the place in the line, to be left when the connection ends */
  wait(reader: Reader): RingEntry<unknown> {
    const since = this.#clock.monotonic()
    const place = this.#waiting.add({ reader, since })
    if (!this.#isScheduled) this.#schedule(this.#waitMs(since))
    return place
  }

  /** How long the one that has waited since then has to wait still. */
  #waitMs(since: number): number {
    const now = this.#clock.monotonic()
    // The longest wait is one of the user: with one of each connection, a hundred of them would know no pace.
    const longest = Math.max(since, this.#readAt) + this.#pace.longestWaitAt(now) - now
    return Math.min(this.#pace.charge(0, now), longest)
  }

  #schedule(waitMs: number): void {
    this.#isScheduled = true
    this.#clock.after(Math.max(leastWaitMs, waitMs), this.#serve)
  }

  readonly #serve = (): void => {
    // Keep it scheduled: this loop meets a reader that waits again, which so needs no timer of its own.
    for (let { first } = this.#waiting; first !== undefined; { first } = this.#waiting) {
      const { reader, since } = first.value
      const waitMs = this.#waitMs(since)
      if (waitMs > 0) return this.#schedule(waitMs)
      first.leave()
      this.#readAt = this.#clock.monotonic()
      reader.readOn()
    }
    this.#isScheduled = false
  }
}

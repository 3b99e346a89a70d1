import type { Clock } from '../../src/core/index.ts'

interface Timer {
  readonly at: number
  /** Number of the timer, in the order in which they were set. */
  readonly number: number
  readonly work: () => void
}

/**
 * A clock whose time moves only by `advance` and `stepUntil`. `now` begins at the real time, since tokens carry that,
 * or at the time that is given.
 */
export class ManualClock implements Clock {
  #elapsed = 0
  readonly #origin: number
  /** Timers, the next one first; of those due at one time, the one that was set first. */
  #timers: Timer[] = []
  #set = 0
  #fired = 0

  constructor(origin = Date.now()) {
    this.#origin = origin
  }

  now(): number {
    return this.#origin + this.#elapsed
  }

  monotonic(): number {
    return this.#elapsed
  }

  after(delayMs: number, work: () => void): () => void {
    const timer: Timer = { at: this.#elapsed + delayMs, number: this.#set++, work }
    this.#timers.splice(this.#placeOf(timer.at), 0, timer)
    return () => {
      const place = this.#timers.indexOf(timer)
      if (place >= 0) this.#timers.splice(place, 1)
    }
  }

  advance(byMs: number): void {
    const until = this.#elapsed + byMs
    while (this.stepUntil(until));
  }

  /**
   * Runs the next timer that is due by then. Without one, time moves there.
   * @returns whether there was a timer
   */
  stepUntil(untilMs: number): boolean {
    const [next] = this.#timers
    if (next === undefined || next.at > untilMs) {
      this.#elapsed = Math.max(this.#elapsed, untilMs)
      return false
    }
    this.#timers.shift()
    this.#fired += 1
    this.#elapsed = Math.max(this.#elapsed, next.at)
    next.work()
    return true
  }

  /** Number of timers that have run by `advance` and `stepUntil`. */
  get firedCount(): number {
    return this.#fired
  }

  /** Number of timers that are set. */
  get timerCount(): number {
    return this.#timers.length
  }

  /** Runs every timer that is set now, whenever it is due. Time does not move. */
  fireAll(): void {
    const due = this.#timers.toSorted((one, other) => one.number - other.number)
    this.#timers = []
    for (const { work } of due) work()
  }

  /** Finds the place behind all timers that are due by then. */
  #placeOf(at: number): number {
    let [low, high] = [0, this.#timers.length]
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#timers[middle]?.at ?? Infinity) <= at) low = middle + 1
      else high = middle
    }
    return low
  }
}

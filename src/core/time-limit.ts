import { Ring, type RingEntry } from './ring.ts'

interface Running {
  /** Time at which the limit is over, in monotonic milliseconds. */
  readonly until: number
  readonly end: () => void
}

/**
 * A time limit for much that runs at once, all with the same number of milliseconds, so that what began first is over
 * first, and one timer watches. `pg` has one for each statement, which are made and cleared with every operation.
 */
export class TimeLimit {
  readonly ms: number
  readonly #running = new Ring<Running>()
  #isWatched = false

  constructor(ms: number) {
    this.ms = ms
  }

  /** Calls `end` when it is over, unless what it answers has been taken out before. */
  start(end: () => void): RingEntry<unknown> {
    const entry = this.#running.add({ until: performance.now() + this.ms, end })
    if (!this.#isWatched) this.#watch(this.ms)
    return entry
  }

  #watch(ms: number): void {
    this.#isWatched = true
    // Unref the timer: limited work has a socket, and that keeps the process alive.
    setTimeout(() => this.#look(), ms).unref()
  }

  #look(): void {
    this.#isWatched = false
    const now = performance.now()
    for (let { first } = this.#running; first !== undefined; { first } = this.#running) {
      const { until, end } = first.value
      if (until > now) return this.#watch(until - now)
      first.leave()
      end()
    }
  }
}

import { mutationPoint } from '../../protocol/mutation-point.ts'
import type { Clock } from '../../core/index.ts'

/** Share of the time that the loop may be at work before users who send far more than others are read more slowly. */
const busyShare = 0.5
/** Milliseconds in which two thirds of what the loop did is forgotten. */
const memoryMs = 1_000
/** Milliseconds between two looks at the loop. */
const lookMs = 100
/** How fast the pace follows, by its natural logarithm in a second and for the whole of the loop's time: it gives way at once, and comes back slowly. */
const fall = 4
const rise = 1.5
/** The slowest pace of a user, in commands a second: a person who works with a page needs no more. */
const fewestPerSecond = 5
/** A user sends far more than others from this many times the rate of the least active quarter of users. */
const farMore = 8

/**
 * How fast one user may be read: as fast as the limits say, unless the loop is at work for most of its time. Then users who
 * send far more than others are read more slowly, until the loop has time again. Where all users send alike, nobody is read more slowly,
 * and the node works at its full rate.
 */
export class Strain {
  /** Commands a second of one user while the node is at ease. */
  readonly most: number
  readonly #clock: Clock
  #perSecond: number
  /** Bound from below of the pace, by what other users send; not known before users were compared. */
  #fair: number
  /** Share of the loop's time, 0 to 1. */
  #busy = 0
  #lookedAt: number
  #busyMs: number

  constructor(clock: Clock, most: number) {
    this.most = most
    this.#clock = clock
    this.#perSecond = most
    this.#fair = most
    this.#lookedAt = clock.monotonic()
    this.#busyMs = clock.busyMs?.() ?? 0
  }

  /** Commands a second of one user, now. */
  perSecondAt(monotonicMs: number): number {
    if (monotonicMs - this.#lookedAt >= lookMs) this.#look(monotonicMs)
    return this.#perSecond
  }

  /**
   * Compares users, while the loop is at work for most of its time.
   * @param ratesOf commands a second of each user who sends any
   */
  compare(monotonicMs: number, ratesOf: () => readonly number[]): void {
    this.perSecondAt(monotonicMs)
    if (this.#busy <= busyShare && this.#perSecond >= this.most) {
      this.#fair = this.most
      return
    }
    const rates = ratesOf().toSorted((one, other) => one - other)
    const quarter = rates[Math.floor(rates.length / 4)] ?? this.most
    this.#fair = Math.min(this.most, Math.max(fewestPerSecond, farMore * quarter))
  }

  #look(monotonicMs: number): void {
    const elapsedMs = monotonicMs - this.#lookedAt
    const busyMs = this.#clock.busyMs?.() ?? 0
    const busy = Math.min(1, (busyMs - this.#busyMs) / elapsedMs)
    this.#lookedAt = monotonicMs
    this.#busyMs = busyMs
    this.#busy += (1 - Math.exp(-elapsedMs / memoryMs)) * (busy - this.#busy)
    const spare = busyShare - this.#busy
    const step = spare * (spare < 0 ? fall : rise) * (elapsedMs / 1_000)
    if (mutationPoint('users who send far more read as fast while a node is busy')) return
    this.#perSecond = Math.min(this.most, Math.max(this.#fair, this.#perSecond * Math.exp(step)))
  }
}

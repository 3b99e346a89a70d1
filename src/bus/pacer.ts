/** How often batches leave. */
export interface Pace {
  /** Time from one batch to the next, in milliseconds, while they are small. */
  readonly leastMs: number
  /** The same in a stream, where fewer and larger batches cost less. */
  readonly mostMs: number
  /** Events of a batch from which on it is a stream. */
  readonly stream: number
}

/**
 * Says how long what has come waits for more. After a pause it leaves at once: a lone event is never delayed. In a
 * stream it waits until the batch before is old enough, and no longer than that.
 */
export class Pacer {
  readonly #pace: Pace
  #nextAt = -Infinity

  constructor(pace: Pace) {
    this.#pace = pace
  }

  /** Milliseconds until a batch may leave; 0: now. */
  waitMs(now: number): number {
    return Math.max(0, this.#nextAt - now)
  }

  /** A batch leaves. */
  left(now: number, events: number): void {
    const { leastMs, mostMs, stream } = this.#pace
    this.#nextAt = now + (events < stream ? leastMs : mostMs)
  }
}

/** How often batches leave. */
export interface BatchInterval {
  /** Time from one batch to the next, in milliseconds, while they are small. */
  readonly leastMs: number
  /** Time from one batch to the next in a stream, in milliseconds, where fewer and larger batches cost less. */
  readonly mostMs: number
  /** Events of a batch from which on it is a stream. */
  readonly stream: number
}

/**
 * Says how long what has come waits for more. After a pause it leaves at once: a lone event is never delayed. In a
 * stream it waits until the batch before is old enough, and no longer than that.
 */
export class BatchSchedule {
  readonly #interval: BatchInterval
  #nextAt = -Infinity

  constructor(interval: BatchInterval) {
    this.#interval = interval
  }

  /** Milliseconds until a batch may leave; 0: now. */
  waitMs(now: number): number {
    return Math.max(0, this.#nextAt - now)
  }

  /** A batch leaves. */
  left(now: number, events: number): void {
    const { leastMs, mostMs, stream } = this.#interval
    this.#nextAt = now + (events < stream ? leastMs : mostMs)
  }
}

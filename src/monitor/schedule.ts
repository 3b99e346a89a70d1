import type { Clock } from '../core/index.ts'

/**
 * Tells when a task is due. A task runs at once, then every `everyMs`; one that closes a time span waits for its first
 * interval.
 */
export class Schedule {
  readonly #clock: Clock
  readonly #last = new Map<string, number>()

  constructor(clock: Clock, spans: readonly string[] = []) {
    this.#clock = clock
    for (const span of spans) this.#last.set(span, clock.monotonic())
  }

  isDue(name: string, intervalMs: number): boolean {
    const now = this.#clock.monotonic()
    const last = this.#last.get(name)
    if (last !== undefined && now - last < intervalMs) return false
    this.#last.set(name, now)
    return true
  }
}

import { waitAtMost, type Clock } from './clock.ts'
import { whenSettled } from './detach.ts'

/** A moment that several waits share: none of them lasts beyond it. */
export class Deadline {
  readonly #clock: Clock
  readonly #at: number

  constructor(clock: Clock, inMs: number) {
    this.#clock = clock
    this.#at = clock.monotonic() + inMs
  }

  get leftMs(): number {
    return Math.max(0, this.#at - this.#clock.monotonic())
  }

  /**
   * Waits until the work has ended, at most until `reserveMs` before the deadline: what comes afterwards needs time,
   * too. Resolves to whether the work has ended. @throws what it throws meanwhile
   */
  async wait(work: Promise<unknown>, reserveMs = 0): Promise<boolean> {
    let hasEnded = false
    const end = (): void => void (hasEnded = true)
    whenSettled(work, end, end)
    await waitAtMost(this.#clock, Math.max(0, this.leftMs - reserveMs), work)
    return hasEnded
  }
}

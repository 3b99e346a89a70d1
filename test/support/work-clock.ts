import { ManualClock } from './manual-clock.ts'

/** A clock that says, too, how long the loop was at work: as long as the test lets it. */
export class WorkClock extends ManualClock {
  #busyMs = 0

  busyMs(): number {
    return this.#busyMs
  }

  /** Lets time pass, by tenths of a second. @param busyShare share of it that the loop is at work, 0 to 1 */
  pass(ms: number, busyShare: number): void {
    for (let restMs = ms; restMs > 0; restMs -= 100) {
      const stepMs = Math.min(100, restMs)
      this.#busyMs += stepMs * busyShare
      this.advance(stepMs)
    }
  }
}

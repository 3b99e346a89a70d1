import { ageMs, LockstepError, type Clock, type Moment } from '../../core/index.ts'

export interface LateCallsOptions {
  readonly clock: Clock
  /** Age at which a call is too late, in milliseconds: well below the time for which an id stays closed. */
  readonly lateAfterMs: number
}

/**
 * Keeps "never received, and never will be" true when a process stands still. Another node answers so, and closes the id,
 * while neither an intent nor an outcome tells it of the call; but a closed id is forgotten after some minutes. A call
 * that took about as long to become visible must therefore not commit: nothing in the database would stop it.
 */
export class LateCalls {
  readonly #clock: Clock
  readonly #lateAfterMs: number

  constructor({ clock, lateAfterMs }: LateCallsOptions) {
    this.#clock = clock
    this.#lateAfterMs = lateAfterMs
  }

  /**
   * Returns an error for a call that becomes visible to other nodes too late; undefined while it is in time.
   * @param since when it may have come at the earliest
   */
  refusalOf(since: Moment): LockstepError | undefined {
    if (ageMs(since, this.#clock) <= this.#lateAfterMs) return undefined
    return new LockstepError('LS_OPERATION_TIMEOUT', {
      message: `No other node could know of the call for more than ${this.#lateAfterMs} ms, because this process stood still or the call has no intent.`,
    })
  }
}

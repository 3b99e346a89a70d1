import { LockstepError, type Clock } from '../../core/index.ts'
import type { OpenOperation } from './open-operation.ts'

/** Tells callers after a while that the outcome of their operation is not known yet, while the search for it goes on. */
export class PendingAnswer {
  readonly #clock: Clock
  readonly #afterMs: number

  constructor(clock: Clock, afterMs: number) {
    this.#clock = clock
    this.#afterMs = afterMs
  }

  /** Waits for the search, and tells the caller meanwhile. @throws what the search throws */
  async during<Answer, T>(operation: OpenOperation<Answer>, search: () => Promise<T>): Promise<T> {
    const tell = (): void => operation.fail(new LockstepError('LS_OUTCOME_PENDING'))
    const cancel = this.#clock.after(this.#afterMs, tell)
    try {
      return await search()
    } finally {
      cancel()
    }
  }
}

import { waitAtMost, type Clock } from './clock.ts'

export interface RepeatOptions {
  readonly clock: Clock
  /** Pause from the end of one run to the beginning of the next, in milliseconds. */
  readonly everyMs: number
  /** Does one run. `false`: nothing is left to do, and the next run waits for `start`. */
  readonly work: () => unknown
  /** Hears what a run throws. The runs go on. */
  readonly onError: (error: unknown) => void
  /** Longest wait of `close` for the run that is under way, in milliseconds. Default 2,000. */
  readonly closeWithinMs?: number
}

/** Work that is done again and again, one run at a time, until it is stopped. */
export class Repeat {
  readonly #clock: Clock
  readonly #everyMs: number
  readonly #work: () => unknown
  readonly #onError: (error: unknown) => void
  readonly #closeWithinMs: number
  #cancelTimer: (() => void) | undefined
  #run: Promise<void> | undefined
  /** `start` was called while a run was under way. */
  #isAskedFor = false
  #isStopped = false

  constructor({ clock, everyMs, work, onError, closeWithinMs = 2_000 }: RepeatOptions) {
    this.#clock = clock
    this.#everyMs = everyMs
    this.#work = work
    this.#onError = onError
    this.#closeWithinMs = closeWithinMs
  }

  get isStopped(): boolean {
    return this.#isStopped
  }

  /** Begins a run after `delayMs`, unless one is due already. A run under way is followed by another one. */
  start(delayMs = this.#everyMs): void {
    if (this.#run !== undefined) this.#isAskedFor = true
    if (this.#isStopped || this.#cancelTimer !== undefined || this.#run !== undefined) return
    this.#cancelTimer = this.#clock.after(delayMs, () => {
      this.#cancelTimer = undefined
      this.#run = this.#runOnce()
    })
  }

  /** Begins no other run. The one under way goes on to its end. */
  stop(): void {
    this.#isStopped = true
    this.#cancelTimer?.()
    this.#cancelTimer = undefined
  }

  /** Stops, and waits for the run under way, up to `closeWithinMs`. */
  async close(): Promise<void> {
    this.stop()
    if (this.#run !== undefined) await waitAtMost(this.#clock, this.#closeWithinMs, this.#run)
  }

  async #runOnce(): Promise<void> {
    let isDone = false
    this.#isAskedFor = false
    try {
      isDone = (await this.#work()) === false
    } catch (error) {
      this.#onError(error)
    }
    this.#run = undefined
    if (!isDone || this.#isAskedFor) this.start()
  }
}

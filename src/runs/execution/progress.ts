import type { Clock } from '../../core/index.ts'

/** Shortest time between two pushes of one run, in milliseconds. */
const everyMs = 250

/** Lets the newest progress of a run through, some times a second. */
export class Progress {
  readonly #clock: Clock
  readonly #push: (json: string) => Promise<void>
  /** Settles when the last one that was let through is kept. */
  #pushed: Promise<void> = Promise.resolve()
  #waiting: string | undefined
  #cancel: (() => void) | undefined

  /** @param push takes the JSON text; never rejects */
  constructor(clock: Clock, push: (json: string) => Promise<void>) {
    this.#clock = clock
    this.#push = push
  }

  set(json: string): void {
    if (this.#cancel !== undefined) {
      this.#waiting = json
      return
    }
    this.#pushed = this.#pushed.then(() => this.#push(json))
    this.#rest()
  }

  /** Lets the last one through, and takes no other. Resolves when that one is kept. */
  close(): Promise<void> {
    this.#cancel?.()
    this.#cancel = () => {}
    const last = this.#waiting
    if (last !== undefined) this.#pushed = this.#pushed.then(() => this.#push(last))
    this.#waiting = undefined
    return this.#pushed
  }

  #rest(): void {
    this.#cancel = this.#clock.after(everyMs, () => {
      this.#cancel = undefined
      const json = this.#waiting
      this.#waiting = undefined
      if (json !== undefined) this.set(json)
    })
  }
}

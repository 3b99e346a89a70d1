import { disregard, type Clock } from '../core/index.ts'

/** What can be asked again whether its subscriptions still stand. Must not reject, nor wait without an end. */
export interface Reauthorizable {
  reauthorize(): Promise<void>
}

/** Steps in which one round over all connections is made, so that its questions do not come at once. */
const stepsPerRound = 32
const shortestStepMs = 20

/**
 * Walks over all connections once in every `roundMs`, a few at each step. A step waits for the answers to the one
 * before: checks that have become slow make the round longer, and are not asked the more.
 */
export class Reauthorizer {
  readonly #all: () => readonly Reauthorizable[]
  readonly #clock: Clock
  readonly #roundMs: number
  #left: readonly Reauthorizable[] = []
  #at = 0
  #perStep = 0
  #cancel: (() => void) | undefined
  #closed = false

  constructor(all: () => readonly Reauthorizable[], clock: Clock, roundMs: number) {
    this.#all = all
    this.#clock = clock
    this.#roundMs = roundMs
  }

  start(): void {
    if (this.#closed) return
    const stepMs = Math.max(shortestStepMs, this.#roundMs / stepsPerRound)
    this.#cancel = this.#clock.after(stepMs, () => {
      const again = (): void => this.start()
      disregard(this.#step().then(again, again))
    })
  }

  close(): void {
    this.#closed = true
    this.#cancel?.()
  }

  async #step(): Promise<void> {
    if (this.#at >= this.#left.length) {
      this.#left = this.#all()
      this.#at = 0
      this.#perStep = Math.ceil(this.#left.length / stepsPerRound)
    }
    const these = this.#left.slice(this.#at, this.#at + this.#perStep)
    this.#at += this.#perStep
    // Those that have ended meanwhile have nothing left to ask for; do not keep them longer than that.
    if (this.#at >= this.#left.length) this.#left = []
    await Promise.all(these.map((one) => one.reauthorize()))
  }
}

import { Repeat, type Clock, type Logger } from '../../core/index.ts'

/** A connection whose subscriptions can be checked again. Must not reject, nor wait without an end. */
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
  readonly #steps: Repeat
  #left: readonly Reauthorizable[] = []
  #at = 0
  #perStep = 0

  constructor(all: () => readonly Reauthorizable[], clock: Clock, logger: Logger, roundMs: number) {
    this.#all = all
    this.#steps = new Repeat({
      clock,
      everyMs: Math.max(shortestStepMs, roundMs / stepsPerRound),
      work: () => this.#step(),
      onError: (error) => logger.error({ error }, 'a step of asking again who may listen failed'),
    })
  }

  start(): void {
    this.#steps.start()
  }

  close(): void {
    this.#steps.stop()
  }

  async #step(): Promise<void> {
    if (this.#at >= this.#left.length) {
      this.#left = this.#all()
      this.#at = 0
      this.#perStep = Math.ceil(this.#left.length / stepsPerRound)
    }
    const batch = this.#left.slice(this.#at, this.#at + this.#perStep)
    this.#at += this.#perStep
    // Drop the list once it is done, so that it does not keep connections that have ended.
    if (this.#at >= this.#left.length) this.#left = []
    await Promise.all(batch.map((connection) => connection.reauthorize()))
  }
}

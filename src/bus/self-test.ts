import type { Clock } from '../core/index.ts'

export interface SelfTestOptions {
  readonly clock: Clock
  /** Time between two tests, and the time in which one has to be heard, in milliseconds. */
  readonly intervalMs: number
  /** Sends to oneself. May reject. */
  readonly send: (round: string) => Promise<void>
  readonly onHeard: () => void
  readonly onDeaf: () => void
}

/**
 * Sends to itself, round after round, and says whether it is heard. A connection can look open and deliver
 * nothing: a peer that vanished without a word, or a pooler that gives LISTEN to whoever comes next.
 */
export class SelfTest {
  readonly #options: SelfTestOptions
  #round = 0
  #heard = false
  #sending: Promise<void> | undefined
  #cancel: (() => void) | undefined

  constructor(options: SelfTestOptions) {
    this.#options = options
  }

  /** Begins a new series of rounds. On a new connection what makes it heard is `ready`, in the time of the first round. */
  start(ready?: Promise<void>): void {
    this.stop()
    if (ready !== undefined) this.#sending = undefined
    this.#next(ready)
  }

  stop(): void {
    this.#cancel?.()
    this.#cancel = undefined
    this.#round++
  }

  hear(round: string): void {
    if (round !== String(this.#round) || this.#heard) return
    this.#heard = true
    this.#options.onHeard()
  }

  #next(ready = Promise.resolve()): void {
    const { clock, intervalMs, onDeaf } = this.#options
    this.#round++
    this.#heard = false
    this.#cancel = clock.after(intervalMs, () => {
      if (!this.#heard) onDeaf()
      // `onDeaf` may have started another series.
      else this.#next()
    })
    // A test that hangs is not followed by another, so that nothing piles up in a client.
    if (this.#sending !== undefined) return
    const sending = this.#send(ready).finally(() => {
      if (this.#sending === sending) this.#sending = undefined
    })
    this.#sending = sending
  }

  async #send(ready: Promise<void>): Promise<void> {
    try {
      await ready
      if (this.#cancel !== undefined) await this.#options.send(String(this.#round))
    } catch {
      // Ignore the error: the test counts as not heard.
    }
  }
}

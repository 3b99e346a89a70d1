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
  #sending = false
  #cancel: (() => void) | undefined

  constructor(options: SelfTestOptions) {
    this.#options = options
  }

  /** Begins a new series of rounds. */
  start(): void {
    this.stop()
    this.#next()
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

  #next(): void {
    const { clock, intervalMs, send, onDeaf } = this.#options
    this.#round++
    this.#heard = false
    this.#cancel = clock.after(intervalMs, () => {
      if (!this.#heard) onDeaf()
      // `onDeaf` may have started another series.
      else this.#next()
    })
    // One that hangs is not followed by another, so that nothing piles up in a client.
    if (this.#sending) return
    this.#sending = true
    send(String(this.#round))
      // Not heard then, and that is what counts.
      .catch(() => {})
      .finally(() => {
        this.#sending = false
      })
  }
}

import { maxOutstandingCalls } from '../protocol/index.ts'
import { later } from './backoff.ts'

/**
 * Bounds how many operations are with the server at once. A server that says it has too much gets half as many, after the pause
 * it asked for, and with each outcome one more.
 */
export class SendingWindow {
  readonly #onOpen: () => void
  #size: number = maxOutstandingCalls
  #cancelPause: (() => void) | undefined

  /** @param onOpen called when a pause is over */
  constructor(onOpen: () => void) {
    this.#onOpen = onOpen
  }

  /** Number of operations that may be sent while so many are with the server. */
  room(outstanding: number): number {
    return this.#cancelPause === undefined ? this.#size - outstanding : 0
  }

  /** An operation has its outcome. */
  widen(): void {
    if (this.#size < maxOutstandingCalls) this.#size += 1
  }

  /** The server refused one for its load. What it refuses during the pause is of the same load. */
  narrow(outstanding: number, retryAfterMs: number): void {
    if (this.#cancelPause !== undefined) return
    this.#size = Math.max(1, Math.floor(outstanding / 2))
    this.#cancelPause = later(() => {
      this.#cancelPause = undefined
      this.#onOpen()
    }, jittered(retryAfterMs))
  }

  /** Ends a pause: another connection may be to another server. */
  reset(): void {
    this.#cancelPause?.()
    this.#cancelPause = undefined
  }
}

/** The pause that a server asked for, by chance up to half as long again, so that not all clients come back at once. */
export function jittered(retryAfterMs: number): number {
  return retryAfterMs * (1 + Math.random() / 2)
}

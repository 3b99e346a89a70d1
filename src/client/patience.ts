import { later } from './backoff.ts'
import { clientError, type LockstepClientError } from './errors.ts'

/** The longest time that a timer holds, in milliseconds. */
const longestMs = 2 ** 31 - 1

interface PatienceOptions {
  /** How long is waited for a connection, in milliseconds; `Infinity` is for ever. */
  readonly waitMs: number
  readonly isConnected: () => boolean
  /** Why there is no connection, where that is known. */
  readonly error: () => LockstepClientError | undefined
}

/** Ends the wait of what needs a connection, so that every promise settles though none ever comes. */
export class Patience {
  readonly #options: PatienceOptions

  constructor(options: PatienceOptions) {
    this.#options = options
  }

  /** Calls `giveUp` after that time, unless there is a connection then. Returns what ends the wait. */
  wait(giveUp: (error: LockstepClientError) => void): () => void {
    const { waitMs, isConnected, error } = this.#options
    const isFinal = error()?.retryable === false
    if (waitMs > longestMs && !isFinal) return () => {}
    return later(
      () => {
        if (!isConnected()) giveUp(error() ?? clientError('LS_CLIENT_DISCONNECTED'))
      },
      isFinal ? 0 : waitMs,
    )
  }
}

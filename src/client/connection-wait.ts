import { later } from './backoff.ts'
import { clientError, type LockstepClientError } from './errors.ts'

/** The longest time that a timer holds, in milliseconds. */
const longestMs = 2 ** 31 - 1

interface ConnectionWaitOptions {
  /** Longest wait for a connection, in milliseconds; `Infinity` is for ever. */
  readonly waitMs: number
  readonly isConnected: () => boolean
  /** Reason why there is no connection, where it is known. */
  readonly error: () => LockstepClientError | undefined
}

/**
 * Waits for a connection, so that every promise settles though none ever comes: calls `giveUp` after that time, unless
 * there is a connection then. Returns what ends the wait.
 */
export type ConnectionWait = (giveUp: (error: LockstepClientError) => void) => () => void

export function createConnectionWait({ waitMs, isConnected, error }: ConnectionWaitOptions): ConnectionWait {
  return (giveUp) => {
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

/** How often a step may throw, and how long it rests in between. */
export interface Retry {
  /** Times that one step may throw in all, the last of which ends the run. */
  readonly attempts: number
  /** First pause, in milliseconds. Each further one is twice as long. Default 500. */
  readonly backoffMs?: number
  /** Longest pause, in milliseconds. Default 30,000. */
  readonly maxBackoffMs?: number
}

/** Doublings after which a pause grows no more: a power of two beyond all numbers would make none of a pause of zero. */
const mostDoublings = 31

export const defaultRetry: Required<Retry> = { attempts: 3, backoffMs: 500, maxBackoffMs: 30_000 }

/**
 * The pause before a step that has thrown is tried again, in milliseconds; undefined where it has thrown for the last time.
 * @param thrown how often it has thrown by now
 */
export function pauseAfterThrowMs(thrown: number, retry: Retry): number | undefined {
  const { attempts, backoffMs = defaultRetry.backoffMs, maxBackoffMs = defaultRetry.maxBackoffMs } = retry
  if (thrown >= attempts) return undefined
  return Math.min(backoffMs * 2 ** Math.min(thrown - 1, mostDoublings), maxBackoffMs)
}

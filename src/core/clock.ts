/** Time as the rooms see it, so that tests and simulations can drive it. */
export interface Clock {
  /** Milliseconds since the epoch; may jump. For people and logs. */
  now(): number
  /** Milliseconds on a scale that never goes back. For durations. */
  monotonic(): number
  /** Runs `work` once after `delayMs`; the returned function cancels it. */
  after(delayMs: number, work: () => void): () => void
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after(delayMs, work) {
    const timer = setTimeout(work, delayMs)
    return () => clearTimeout(timer)
  },
}

/** Resolves after `delayMs`, or at once when the signal aborts. */
export function pause(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> {
  if (signal?.aborted) return Promise.resolve()
  return new Promise((resolve) => {
    const finish = (): void => {
      cancel()
      signal?.removeEventListener('abort', finish)
      resolve()
    }
    const cancel = clock.after(delayMs, finish)
    signal?.addEventListener('abort', finish, { once: true })
  })
}

/** Resolves when the promise does, and after so many milliseconds at the latest. @throws what the promise throws */
export async function waitAtMost(
  clock: Clock,
  timeoutMs: number,
  promise: Promise<unknown> | undefined,
): Promise<void> {
  const over = new AbortController()
  try {
    await Promise.race([promise, pause(clock, timeoutMs, over.signal)])
  } finally {
    // Else the timer would keep the process for that long after everything has ended.
    over.abort()
  }
}

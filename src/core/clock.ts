import { performance } from 'node:perf_hooks'

/** Time as the rooms see it, so that tests and simulations can drive it. */
export interface Clock {
  /** Milliseconds since the epoch; may jump. For people and logs. */
  now(): number
  /** Milliseconds on a scale that never goes back. For durations. */
  monotonic(): number
  /** Runs `work` once after `delayMs`; the returned function cancels it. */
  after(delayMs: number, work: () => void): () => void
  /** Milliseconds for which the loop of this thread has been at work, or was kept from it. Absent where nobody knows. */
  busyMs?(): number
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after(delayMs, work) {
    const timer = setTimeout(work, delayMs)
    return () => clearTimeout(timer)
  },
  busyMs: () => performance.eventLoopUtilization().active,
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

/**
 * Settles as the answer does. After `timeoutMs` it rejects with what `late` makes, and how the answer ends does not matter
 * any more. @throws what the answer throws, and what `late` makes
 */
export async function inTime<T>(
  clock: Clock,
  timeoutMs: number,
  answer: Promise<T>,
  late: () => Error,
): Promise<T> {
  let cancel = (): void => {}
  const tooLate = new Promise<never>((_, reject) => {
    cancel = clock.after(timeoutMs, () => reject(late()))
  })
  try {
    return await Promise.race([answer, tooLate])
  } finally {
    cancel()
  }
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
    // Clear the timer: it would keep the process alive for the rest of its time.
    over.abort()
  }
}

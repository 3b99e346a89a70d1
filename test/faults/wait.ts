import { setTimeout as pause } from 'node:timers/promises'

/** Resolves after the time, or when the signal aborts. */
export async function wait(ms: number, signal: AbortSignal): Promise<void> {
  try {
    await pause(ms, undefined, { signal })
  } catch {
    // An abort ends the wait, too.
  }
}

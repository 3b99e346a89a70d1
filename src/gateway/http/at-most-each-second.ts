import type { Clock } from '../../core/index.ts'

const keptForMs = 1_000

/** Answers with what was computed within the last second: whoever asks more often costs nothing. */
export function atMostEachSecond<T>(clock: Clock, compute: () => T | Promise<T>): () => Promise<T> {
  let answer: Promise<T> | undefined
  let computedAt = 0
  return () => {
    const now = clock.monotonic()
    if (answer === undefined || now - computedAt >= keptForMs) {
      computedAt = now
      // Compute inside an async function: an error becomes a rejection for all callers.
      answer = (async () => compute())()
    }
    return answer
  }
}

/** Bounds of a delay that doubles, in milliseconds. */
export interface Delays {
  readonly minMs: number
  readonly maxMs: number
}

/** Milliseconds to wait before attempt number `attempt` (0 is the first repetition), half of it by chance. */
export function backoffMs(attempt: number, { minMs, maxMs }: Delays): number {
  const ceiling = Math.min(maxMs, minMs * 2 ** Math.min(attempt, 20))
  return ceiling / 2 + (Math.random() * ceiling) / 2
}

/** Runs `action` later. In Node the wait does not keep the process alive by itself. */
export function later(action: () => void, delayMs: number): () => void {
  const timer: unknown = setTimeout(action, delayMs)
  ;(timer as { unref?: () => void }).unref?.()
  return () => {
    clearTimeout(timer as ReturnType<typeof setTimeout>)
  }
}

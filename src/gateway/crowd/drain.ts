import type { Clock } from '../../core/index.ts'

/** A connection that can be sent away. */
export interface Drainable {
  /** Waits for an answer that is still being made. */
  readonly isBusy: boolean
}

export interface DrainOptions<C extends Drainable> {
  readonly connections: readonly C[]
  readonly overMs: number
  readonly clock: Clock
  readonly close: (connection: C) => void
}

const stepMs = 20

/**
 * Closes connections evenly over `overMs`, the first at once. One that waits for an answer is passed over until it
 * has it, or until the time is up. Resolves when the last one has been told to close.
 */
export async function drain<C extends Drainable>(options: DrainOptions<C>): Promise<void> {
  const { connections, overMs, clock, close } = options
  const open = new Set(connections)
  const startedAt = clock.monotonic()
  while (open.size > 0) {
    // Go by the time that has really passed: late timers must not make the whole longer.
    const share = Math.min(1, (clock.monotonic() - startedAt + stepMs) / Math.max(overMs, stepMs))
    const keep = connections.length - Math.ceil(connections.length * share)
    for (const connection of open) {
      if (open.size <= keep) break
      if (connection.isBusy) continue
      open.delete(connection)
      close(connection)
    }
    if (share === 1) break
    await new Promise<void>((resolve) => clock.after(stepMs, resolve))
  }
  if (open.size === 0) return
  // The answer may be made already, and only a few promises away from its socket.
  await new Promise((resolve) => setImmediate(resolve))
  for (const connection of open) close(connection)
}

import { setMaxListeners } from 'node:events'

/** A signal that aborts with others, for as long as something runs. */
export interface LinkedSignal {
  readonly signal: AbortSignal
  readonly unlink: () => void
}

/**
 * As `AbortSignal.any`, for signals that may outlive the new one by far: Node 20 keeps a reference on each of them for
 * every signal that was made of it.
 */
export function linkSignals(signals: readonly AbortSignal[]): LinkedSignal {
  const controller = new AbortController()
  // Node takes more than ten listeners for a leak; these go with the calls they belong to.
  setMaxListeners(0, controller.signal, ...signals)
  const unlink = (): void => {
    for (const signal of signals) signal.removeEventListener('abort', onAbort)
  }
  function onAbort(this: void, event: Pick<Event, 'target'>): void {
    unlink()
    controller.abort((event.target as AbortSignal).reason)
  }
  for (const signal of signals) signal.addEventListener('abort', onAbort)
  const aborted = signals.find((signal) => signal.aborted)
  if (aborted !== undefined) onAbort({ target: aborted })
  return { signal: controller.signal, unlink }
}

import { setMaxListeners } from 'node:events'
import { Ring } from '../core/index.ts'

const listening = new WeakMap<AbortSignal, Ring<() => void>>()

/**
 * Acts when the signal aborts, unless what it answers is called before. For a signal that each open operation listens
 * to: `addEventListener` compares a listener with all others when it comes, and when it goes.
 */
export function whenAborted(signal: AbortSignal, act: () => void): () => void {
  const entry = (listening.get(signal) ?? listenTo(signal)).add(act)
  return () => entry.leave()
}

function listenTo(signal: AbortSignal): Ring<() => void> {
  const ring = new Ring<() => void>()
  listening.set(signal, ring)
  const tellAll = (): void => {
    for (let { first } = ring; first !== undefined; { first } = ring) {
      first.leave()
      first.value()
    }
  }
  signal.addEventListener('abort', tellAll, { once: true })
  return ring
}

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
  const { signal } = controller
  // Whose it is may listen as often as it likes; Node takes more than ten listeners for a leak.
  setMaxListeners(0, signal)
  const aborted = signals.find((each) => each.aborted)
  if (aborted !== undefined) {
    controller.abort(aborted.reason)
    return { signal, unlink: () => {} }
  }
  const stops = signals.map((each) => whenAborted(each, () => controller.abort(each.reason)))
  return { signal, unlink: () => stops.forEach((stop) => stop()) }
}

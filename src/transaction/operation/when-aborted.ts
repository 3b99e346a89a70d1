import { Ring } from '../../core/index.ts'

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

import { callSafely } from './detach.ts'
import { assertKind, misuse } from './client-options.ts'

/** Ends what it was returned by. Calling it again does nothing. */
export type Off = () => void

/** Hears of what went wrong where no caller waits: in a listener, in the background, in `getState`. */
export type ErrorListener = (error: unknown) => void

/** Refuses a name that is none of these. @throws LS_CLIENT_CONFIG_INVALID */
export function assertEvent(name: string, ...known: readonly string[]): void {
  if (!known.includes(name)) throw misuse(`There is no event "${name}", only ${known.join(', ')}.`)
}

/** @throws LS_CLIENT_CONFIG_INVALID for what is no function: it would count as somebody who listens */
export function assertListener(listener: unknown): void {
  assertKind('A listener', listener, 'function')
}

/** Functions to call in the order they were added. One that throws is reported and does not stop the others. */
export class Listeners<Args extends readonly unknown[]> {
  readonly #entries = new Set<{ readonly call: (...args: Args) => void }>()
  readonly #onError: ErrorListener

  constructor(onError: ErrorListener) {
    this.#onError = onError
  }

  get size(): number {
    return this.#entries.size
  }

  /** @throws LS_CLIENT_CONFIG_INVALID for what is no function */
  add(call: (...args: Args) => void): Off {
    assertListener(call)
    // Wrap the function, so that one added twice is called twice and removed once.
    const entry = { call }
    this.#entries.add(entry)
    return () => {
      this.#entries.delete(entry)
    }
  }

  emit(...args: Args): void {
    // A copy, so that listeners added meanwhile wait for the next time; removed ones are not called any more.
    for (const entry of Array.from(this.#entries)) {
      if (!this.#entries.has(entry)) continue
      callSafely(entry.call, args, this.#onError)
    }
  }
}

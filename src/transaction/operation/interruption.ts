import { setMaxListeners } from 'node:events'
import type { LockstepError } from '../../core/index.ts'

/**
 * Ends an operation's work before its time: by its limit, its caller, the end of the node. The first reason stands. The
 * signal for the operation's own code is made when that code asks for it.
 */
export class Interruption {
  #reason: LockstepError | undefined
  #act: ((reason: LockstepError) => void) | undefined
  #controller: AbortController | undefined

  get reason(): LockstepError | undefined {
    return this.#reason
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController()
      // The operation's code may listen as often as it likes; Node takes more than ten listeners for a leak.
      setMaxListeners(0, this.#controller.signal)
      if (this.#reason !== undefined) this.#controller.abort(this.#reason)
    }
    return this.#controller.signal
  }

  interrupt(reason: LockstepError): void {
    if (this.#reason !== undefined) return
    this.#reason = reason
    this.#controller?.abort(reason)
    this.#act?.(reason)
  }

  /** Acts when it is interrupted, at once where it is already; one at a time. */
  onInterrupt(act: (reason: LockstepError) => void): void {
    if (this.#reason !== undefined) act(this.#reason)
    else this.#act = act
  }

  ignore(): void {
    this.#act = undefined
  }
}

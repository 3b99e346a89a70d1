import { isLockstepError, LockstepError, TimeLimit } from '../../core/index.ts'
import type { Interruption } from './interruption.ts'
import { whenAborted } from './when-aborted.ts'

/** How long an operation may take that does not say so itself, in milliseconds. */
const defaultTimeoutMs = 30_000

/** An application that computes its limits has any number of them: those beyond have a timer each. */
const mostLimits = 100

/** The bounds of an operation's work. */
export interface WorkLimit {
  readonly name: string
  /** Limit from the operation's beginning to its COMMIT, all attempts together, in milliseconds. Default 30,000. */
  readonly timeoutMs?: number | undefined
  readonly signal?: AbortSignal | undefined
}

/** Interrupts operations whose time is over, or whose caller gives up. One timer watches all that have the same limit. */
export class WorkLimits {
  readonly #byMs = new Map<number, TimeLimit>()

  /** @returns a function that ends the watch */
  watch(interruption: Interruption, { name, timeoutMs = defaultTimeoutMs, signal }: WorkLimit): () => void {
    const limited = this.#limitOf(timeoutMs).start(() => interruption.interrupt(timedOut(name, timeoutMs)))
    const unlink = signal === undefined ? undefined : interruptBy(signal, interruption)
    return () => {
      limited.leave()
      unlink?.()
    }
  }

  #limitOf(timeoutMs: number): TimeLimit {
    const known = this.#byMs.get(timeoutMs)
    if (known !== undefined) return known
    const limit = new TimeLimit(timeoutMs)
    if (this.#byMs.size < mostLimits) this.#byMs.set(timeoutMs, limit)
    return limit
  }
}

function timedOut(name: string, timeoutMs: number): LockstepError {
  return new LockstepError('LS_OPERATION_TIMEOUT', {
    message:
      `Operation "${name}" had not ended after ${timeoutMs} ms, and was rolled back. It may have waited for something that ` +
      'is not the database, for a connection of its own pool, or for a lock that an operation around it held. ' +
      'Move such work out of the operation, or give it a longer timeoutMs.',
  })
}

/** Answers how to stop listening to the signal. */
function interruptBy(signal: AbortSignal, interruption: Interruption): (() => void) | undefined {
  const interrupt = (): void => interruption.interrupt(toCancelled(signal.reason))
  if (!signal.aborted) return whenAborted(signal, interrupt)
  interrupt()
  return undefined
}

function toCancelled(reason: unknown): LockstepError {
  return isLockstepError(reason) ? reason : new LockstepError('LS_OPERATION_CANCELLED', { cause: reason })
}

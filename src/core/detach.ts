import type { Logger } from './logger.ts'
import { messageOf } from './thrown.ts'

/**
 * Lets work run on by itself. The only way in which a promise is left without somebody who awaits it: Node ends the
 * process for a rejection that nobody hears.
 * @param what goes on the log line of a failure, such as "a page of the log"
 */
export function detach(work: Promise<unknown>, logger: Logger, what: string): void {
  work.catch((error: unknown) => logger.error({ error }, `${what} failed: ${messageOf(error)}`))
}

/** Ignores a promise whose failure does not matter, or is heard elsewhere; the caller says which. */
export function disregard(work: Promise<unknown>): void {
  work.catch(() => {})
}

/** Hears how work ends without waiting for it. For functions that throw nothing, where a promise more would be felt. */
export function whenSettled<T>(
  work: PromiseLike<T>,
  onValue: (value: T) => void,
  onError: (error: unknown) => void,
): void {
  work.then(onValue, onError)
}

/** A callback of the application for places that have no one to throw at: what it throws, or rejects with, is logged. */
export function guarded<Args extends readonly unknown[]>(
  callback: (...args: Args) => unknown,
  logger: Logger,
  what: string,
): (...args: Args) => void {
  return (...args) => detach(called(callback, args), logger, what)
}

async function called<Args extends readonly unknown[]>(
  callback: (...args: Args) => unknown,
  args: Args,
): Promise<void> {
  await callback(...args)
}

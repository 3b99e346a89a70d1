import type { ConnectionWait } from './connection-wait.ts'
import { createDeferred, type Deferred } from './deferred.ts'
import type { LockstepClientError } from './errors.ts'

/** Callers who wait until a channel is joined, and not for ever where there is no connection. */
export class JoinWaiters {
  readonly #connectionWait: ConnectionWait
  readonly #waiters = new Set<Deferred<void>>()

  constructor(connectionWait: ConnectionWait) {
    this.#connectionWait = connectionWait
  }

  get size(): number {
    return this.#waiters.size
  }

  wait(): Promise<void> {
    const waiter = createDeferred<void>()
    this.#waiters.add(waiter)
    this.#awaitConnection(waiter)
    return waiter.promise
  }

  /** Bounds the wait of all: there is no connection. */
  offline(): void {
    for (const waiter of this.#waiters) this.#awaitConnection(waiter)
  }

  settle(error: LockstepClientError | undefined): void {
    for (const { resolve, reject } of this.#waiters) {
      if (error === undefined) resolve()
      else reject(error)
    }
    this.#waiters.clear()
  }

  #awaitConnection(waiter: Deferred<void>): void {
    this.#connectionWait((error) => {
      if (this.#waiters.delete(waiter)) waiter.reject(error)
    })
  }
}

import type { Scheduler } from '../scheduler.ts'

interface Waiter {
  readonly keys: readonly string[]
  readonly end: (hasGot: boolean) => void
}

/** Row locks of the modelled server: all locks of a statement at once, first come, first served. */
export class Locks {
  readonly #scheduler: Scheduler
  readonly #held = new Set<string>()
  #waiting: Waiter[] = []

  constructor(scheduler: Scheduler) {
    this.#scheduler = scheduler
  }

  /** Takes the locks; resolves to whether they were free within the time. */
  take(keys: readonly string[], timeoutMs?: number): Promise<boolean> {
    if (this.#areFree(keys)) {
      this.#hold(keys)
      return Promise.resolve(true)
    }
    return new Promise((resolve) => {
      let cancel = (): void => {}
      const waiter: Waiter = {
        keys,
        end: (hasGot) => {
          cancel()
          resolve(hasGot)
        },
      }
      this.#waiting.push(waiter)
      if (timeoutMs === undefined) return
      cancel = this.#scheduler.after(timeoutMs, () => {
        this.#waiting = this.#waiting.filter((other) => other !== waiter)
        resolve(false)
      })
    })
  }

  release(keys: readonly string[]): void {
    for (const key of keys) this.#held.delete(key)
    for (const waiter of this.#waiting) {
      if (!this.#areFree(waiter.keys)) continue
      this.#waiting = this.#waiting.filter((other) => other !== waiter)
      this.#hold(waiter.keys)
      waiter.end(true)
    }
  }

  /** Drops the locks of a server that is gone: no waiting statement gets them. */
  clear(): void {
    this.#held.clear()
    for (const waiter of this.#waiting.splice(0)) waiter.end(false)
  }

  isHeld(key: string): boolean {
    return this.#held.has(key)
  }

  #areFree(keys: readonly string[]): boolean {
    return keys.every((key) => !this.#held.has(key))
  }

  #hold(keys: readonly string[]): void {
    for (const key of keys) this.#held.add(key)
  }
}

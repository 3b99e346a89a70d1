import { later } from './backoff.ts'
import { lockManager } from './browser.ts'
import { disregard } from './detach.ts'
import { newOperationId } from './operation-id.ts'

/** Interval at which a tab without Web Locks shows that it lives, in milliseconds. */
const heartbeatMs = 15_000
/** Hidden tabs run their timers once a minute (Chrome, intensive throttling), so a live one may be silent that long. */
const silentForMs = 90_000
/** An entry is written an instant before its lock is granted; that long nobody takes it. */
const graceMs = 2_000

/**
 * Tells which tabs are alive, so that no tab asks for the outcome of an operation another tab is about to send:
 * asking closes an id that the server has not seen. With Web Locks a tab holds a lock while it has operations,
 * which ends with the tab, also by a crash; without them it writes a heartbeat.
 */
export class TabOwnership {
  readonly id: string = newOperationId()
  readonly #locks = lockManager()
  readonly #beat: () => void
  #held: Promise<void> | undefined
  #letGo: (() => void) | undefined

  /** @param beat writes the heartbeat; not called where there are Web Locks */
  constructor(beat: () => void) {
    this.#beat = beat
  }

  /** Resolves once other tabs can see that this one is alive. */
  hold(): Promise<void> {
    this.#held ??= this.#locks === undefined ? this.#holdByHeartbeat() : this.#holdByLock(this.#locks)
    return this.#held
  }

  letGo(): void {
    this.#letGo?.()
    this.#letGo = undefined
    this.#held = undefined
  }

  /** Names of the tabs that hold a lock; undefined where there are no Web Locks. Rejects where the page may not ask. */
  async liveTabs(): Promise<ReadonlySet<string> | undefined> {
    if (this.#locks === undefined) return undefined
    const { held = [] } = await this.#locks.query()
    return new Set(held.map(({ name = '' }) => name))
  }

  /** Tells whether the tab that wrote an entry is gone. `seenAt`: its last sign of life, milliseconds since the epoch. */
  isGone(owner: string, seenAt: number, liveTabs: ReadonlySet<string> | undefined): boolean {
    if (owner === '') return true
    const silent = Date.now() - seenAt
    if (liveTabs === undefined) return silent > silentForMs
    // Entries of the future were written before the clock was put back.
    return Math.abs(silent) > graceMs && !liveTabs.has(lockName(owner))
  }

  #holdByHeartbeat(): Promise<void> {
    this.#keepBeating()
    return Promise.resolve()
  }

  #keepBeating(): void {
    this.#letGo = later(() => {
      this.#beat()
      this.#keepBeating()
    }, heartbeatMs)
  }

  #holdByLock(locks: NonNullable<ReturnType<typeof lockManager>>): Promise<void> {
    return new Promise((granted) => {
      const untilLetGo = new Promise<void>((resolve) => {
        this.#letGo = resolve
      })
      const request = locks.request(lockName(this.id), () => {
        granted()
        return untilLetGo
      })
      // Go on where the lock is refused, as in a document that is going away: calls do not wait for it.
      disregard(request.catch(() => granted()))
    })
  }
}

function lockName(owner: string): string {
  return `lockstep:${owner}`
}

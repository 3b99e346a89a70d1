import type { Clock } from '../core/index.ts'
import type { GatewaySettings } from './options.ts'

/** What the registry needs of a session. */
export interface Connection {
  tick(monotonicMs: number, wallMs: number): void
}

/** All connections of a gateway, by user once that is known, and the one timer that looks after them all. */
export class Connections<C extends Connection> {
  readonly #all = new Set<C>()
  readonly #byUser = new Map<string, Set<C>>()
  readonly #clock: Clock
  readonly #periodMs: number
  readonly #maxPerUser: number
  #cancelSweep: (() => void) | undefined
  #whenEmpty: (() => void)[] = []

  constructor(settings: GatewaySettings) {
    const { limits, pingIntervalMs, pongTimeoutMs } = settings
    this.#clock = settings.clock
    this.#maxPerUser = limits.maxConnectionsPerUser
    // A deadline is met within a fraction of itself, at most a second late.
    const shortest = Math.min(pingIntervalMs, pongTimeoutMs, limits.connectTimeoutMs, limits.expiryGraceMs)
    this.#periodMs = Math.min(1_000, Math.max(10, shortest / 4))
  }

  get size(): number {
    return this.#all.size
  }

  add(connection: C): void {
    this.#all.add(connection)
    this.#cancelSweep ??= this.#clock.after(this.#periodMs, this.#sweep)
  }

  /** False when the user has as many connections as one may have. */
  admit(connection: C, userId: string): boolean {
    const those = this.#byUser.get(userId)
    if (those === undefined) this.#byUser.set(userId, new Set([connection]))
    else if (those.size >= this.#maxPerUser) return false
    else those.add(connection)
    return true
  }

  /** The connection no longer speaks for its user; its socket may still be closing. */
  release(connection: C, userId: string): void {
    const those = this.#byUser.get(userId)
    if (those?.delete(connection) === true && those.size === 0) this.#byUser.delete(userId)
  }

  remove(connection: C): void {
    this.#all.delete(connection)
    if (this.#all.size > 0) return
    this.#cancelSweep?.()
    this.#cancelSweep = undefined
    for (const resolve of this.#whenEmpty.splice(0)) resolve()
  }

  all(): readonly C[] {
    return [...this.#all]
  }

  ofUser(userId: string): readonly C[] {
    return [...(this.#byUser.get(userId) ?? [])]
  }

  empty(): Promise<void> {
    if (this.#all.size === 0) return Promise.resolve()
    return new Promise((resolve) => this.#whenEmpty.push(resolve))
  }

  readonly #sweep = (): void => {
    this.#cancelSweep = this.#clock.after(this.#periodMs, this.#sweep)
    const monotonicMs = this.#clock.monotonic()
    const wallMs = this.#clock.now()
    for (const connection of this.#all) connection.tick(monotonicMs, wallMs)
  }
}

import type { Clock } from '../core/index.ts'
import type { GatewaySettings } from './options.ts'

/** What the registry needs of a session. */
export interface Connection {
  tick(monotonicMs: number, wallMs: number): void
}

/** All connections of a gateway, by user once that is known, and the one timer that looks after them all. */
export class Connections<C extends Connection> {
  readonly #all = new Set<C>()
  /** Most users have one connection, which needs no set around it. */
  readonly #byUser = new Map<string, C | Set<C>>()
  readonly #clock: Clock
  readonly #periodMs: number
  readonly #maxPerUser: number
  #cancelSweep: (() => void) | undefined
  #sweptAt = 0
  #passedOver = false
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
    if (this.#cancelSweep === undefined) this.#sweptAt = this.#clock.monotonic()
    this.#cancelSweep ??= this.#clock.after(this.#periodMs, this.#sweep)
  }

  /** False when the user has as many connections as one may have. */
  admit(connection: C, userId: string): boolean {
    const those = this.#byUser.get(userId)
    if (those === undefined) this.#byUser.set(userId, connection)
    else if ((those instanceof Set ? those.size : 1) >= this.#maxPerUser) return false
    else if (those instanceof Set) those.add(connection)
    else this.#byUser.set(userId, new Set([those, connection]))
    return true
  }

  /** The connection no longer speaks for its user; its socket may still be closing. */
  release(connection: C, userId: string): void {
    const those = this.#byUser.get(userId)
    if (those === connection) this.#byUser.delete(userId)
    if (those instanceof Set && those.delete(connection) && those.size === 0) this.#byUser.delete(userId)
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
    const those = this.#byUser.get(userId)
    if (those === undefined) return []
    return those instanceof Set ? [...those] : [those]
  }

  empty(): Promise<void> {
    if (this.#all.size === 0) return Promise.resolve()
    return new Promise((resolve) => this.#whenEmpty.push(resolve))
  }

  readonly #sweep = (): void => {
    this.#cancelSweep = this.#clock.after(this.#periodMs, this.#sweep)
    const monotonicMs = this.#clock.monotonic()
    const late = monotonicMs - this.#sweptAt > 2 * this.#periodMs
    this.#sweptAt = monotonicMs
    // After a pause of the whole process, the answers of peers lie unread in their sockets: read those first.
    this.#passedOver = late && !this.#passedOver
    if (this.#passedOver) return
    const wallMs = this.#clock.now()
    for (const connection of this.#all) connection.tick(monotonicMs, wallMs)
  }
}

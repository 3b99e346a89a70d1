import type { Clock } from '../../core/index.ts'
import type { GatewaySettings } from '../contract/gateway-options.ts'
import type { Pace } from './pace.ts'
import type { ReadingTurns } from './reading-turns.ts'
import { Strain } from './strain.ts'

/** The part of a session that the registry uses. */
export interface Connection {
  tick(monotonicMs: number, wallMs: number): void
}

/** All connections of a gateway, as one of them sees them. */
export interface Crowd {
  /** How fast one user is read while the node is busy. */
  readonly strain: Strain
  /** Counts a connection for its user; `undefined` when the user has as many as allowed. */
  admit(userId: string): ConnectedUser | undefined
  /** A connection that was admitted no longer speaks for its user. */
  release(userId: string): void
  remove(connection: Connection): void
}

/** A user with connections, or one who has sent more than is earned back since the last of them ended. */
export interface ConnectedUser {
  connections: number
  /** Pace of the user, created by the first command: most connections only listen. */
  pace: Pace | undefined
  /** Line of connections that wait for the pace, created by the first that has to. */
  turns?: ReadingTurns
}

/** Users without a connection whose pace is remembered. A pace is mostly restored in five seconds. */
const mostGone = 10_000

/** A user who asks for less than this, in commands a second, asks for nothing at present. */
const idleRate = 0.01

/** All connections of a gateway, how many each user has, and the one timer that looks after them all. */
export class Connections<C extends Connection> implements Crowd {
  readonly strain: Strain
  readonly #all = new Set<C>()
  readonly #perUser = new Map<string, ConnectedUser>()
  /** Users without a connection whose pace is not restored, the oldest first: reconnecting must not buy a new burst. */
  readonly #gone = new Set<string>()
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
    this.strain = new Strain(settings.clock, limits.maxCommandsPerSecond)
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

  /** @returns the state that all connections of the user share; undefined when the user has as many as allowed */
  admit(userId: string): ConnectedUser | undefined {
    const known = this.#perUser.get(userId)
    if (known === undefined) {
      const user: ConnectedUser = { connections: 1, pace: undefined }
      this.#perUser.set(userId, user)
      return user
    }
    if (known.connections >= this.#maxPerUser) return undefined
    known.connections += 1
    this.#gone.delete(userId)
    return known
  }

  /** A connection that was admitted no longer speaks for its user; its socket may still be closing. */
  release(userId: string): void {
    const user = this.#perUser.get(userId)
    if (user === undefined) return
    user.connections -= 1
    if (user.connections > 0) return
    if (isRestored(user, this.#clock.monotonic())) this.#perUser.delete(userId)
    else this.#gone.add(userId)
    const [oldest] = this.#gone
    if (this.#gone.size > mostGone && oldest !== undefined) this.#forget(oldest)
  }

  #forget(userId: string): void {
    this.#gone.delete(userId)
    this.#perUser.delete(userId)
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

  empty(): Promise<void> {
    if (this.#all.size === 0) return Promise.resolve()
    return new Promise((resolve) => this.#whenEmpty.push(resolve))
  }

  readonly #sweep = (): void => {
    this.#cancelSweep = this.#clock.after(this.#periodMs, this.#sweep)
    const monotonicMs = this.#clock.monotonic()
    const late = monotonicMs - this.#sweptAt > 2 * this.#periodMs
    this.#sweptAt = monotonicMs
    // Read first what lies unread in the sockets: after a pause of the whole process, the answers of peers do.
    this.#passedOver = late && !this.#passedOver
    if (this.#passedOver) return
    const wallMs = this.#clock.now()
    for (const connection of this.#all) connection.tick(monotonicMs, wallMs)
    for (const userId of this.#gone)
      if (isRestored(this.#perUser.get(userId), monotonicMs)) this.#forget(userId)
    this.strain.compare(monotonicMs, () => this.#ratesAt(monotonicMs))
  }

  #ratesAt(monotonicMs: number): number[] {
    return Array.from(this.#perUser.values(), ({ pace }) => pace?.rateAt(monotonicMs) ?? 0).filter(
      (rate) => rate >= idleRate,
    )
  }
}

function isRestored(user: ConnectedUser | undefined, monotonicMs: number): boolean {
  return user?.pace === undefined || user.pace.isRestored(monotonicMs)
}

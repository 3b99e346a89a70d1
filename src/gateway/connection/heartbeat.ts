import type { GatewaySettings } from '../contract/gateway-options.ts'

/** Frame that the peer must send in time: its connect, any frame (or it is sent a ping), and the answer to a ping. */
export type Awaited = 'connect' | 'ping' | 'pong'

/** The deadlines of one peer, who has to connect, and then to answer pings. */
export class Heartbeat {
  readonly #settings: GatewaySettings
  #awaits: Awaited = 'connect'
  /**
   * Deadline on the monotonic clock, in whole milliseconds: a fraction would be an object of its own on every
   * connection.
   */
  #deadline: number

  constructor(settings: GatewaySettings) {
    this.#settings = settings
    this.#deadline = Math.ceil(settings.clock.monotonic() + settings.limits.connectTimeoutMs)
  }

  /** Begins to ping: the peer has connected. */
  connected(): void {
    const { pingIntervalMs, clock } = this.#settings
    this.#awaits = 'ping'
    // The first ping comes early by chance, so that connections made at once do not ping at once for ever.
    this.#deadline = Math.ceil(clock.monotonic() + pingIntervalMs * (0.5 + Math.random() / 2))
  }

  /** @returns the frame whose deadline has passed, if it has */
  overdue(monotonicMs: number): Awaited | undefined {
    return monotonicMs < this.#deadline ? undefined : this.#awaits
  }

  /** A ping is sent: its pong is awaited from now on. */
  pinged(monotonicMs: number): void {
    this.#awaits = 'pong'
    this.#deadline = Math.ceil(monotonicMs + this.#settings.pongTimeoutMs)
  }

  /** Notes a sign of life: any frame of the peer counts as its pong. */
  heard(): void {
    if (this.#awaits !== 'pong') return
    const { pingIntervalMs, pongTimeoutMs } = this.#settings
    this.#awaits = 'ping'
    this.#deadline += pingIntervalMs - pongTimeoutMs
  }
}

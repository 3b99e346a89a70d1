import type { Clock, Logger } from '../../core/index.ts'

/** Reasons for refusals, and what an operator reads of them. */
const words = {
  token: 'the token was refused',
  auth_failed: 'auth failed, so nothing is known of the token; the client tries again',
  origin: "the page's origin is not allowed; add it to gateway.allowedOrigins",
  user_limit: 'too many connections of this user (gateway.limits.maxConnectionsPerUser)',
  address_limit: 'too many connections of one address (gateway.limits)',
  node_limit: 'too many connections of this node (gateway.limits)',
  no_connect: 'no valid connect came in time (gateway.limits.connectTimeoutMs)',
  too_large: 'connect, or what was sent along with it, is too large (gateway.limits.maxConnectBytes)',
  protocol: 'its first message does not follow the protocol',
  not_attached: 'the WebSocket was asked for over HTTP, and lockstep.attach(server) was not called',
} as const

export type RefusalReason = keyof typeof words
export type RefusalCounts = Readonly<Record<RefusalReason, number>>

const reasons = Object.keys(words) as readonly RefusalReason[]
/** Time in which at most one line is logged per reason, in milliseconds: strangers must not fill the log. */
const quietMs = 10_000

/** Counts the connections that a gateway refused, and logs the first of each reason, then one in 10 s. */
export class Refusals {
  readonly #logger: Logger
  readonly #clock: Clock
  readonly #counts = Object.fromEntries(reasons.map((reason) => [reason, 0])) as Record<RefusalReason, number>
  readonly #logged = new Map<RefusalReason, { readonly at: number; readonly count: number }>()

  constructor(logger: Logger, clock: Clock) {
    this.#logger = logger
    this.#clock = clock
  }

  get counts(): RefusalCounts {
    return { ...this.#counts }
  }

  /** @param fields facts for the log, called only when a line is due */
  note(reason: RefusalReason, fields: () => Readonly<Record<string, unknown>> = () => ({})): void {
    const count = (this.#counts[reason] += 1)
    const at = this.#clock.monotonic()
    const last = this.#logged.get(reason)
    if (last !== undefined && at - last.at < quietMs) return
    this.#logged.set(reason, { at, count })
    const more = last === undefined ? {} : { sinceLastLine: count - last.count }
    // Log a failing `auth` as an error: it is a fault of the server. Clients, or limits that do their work, cause the
    // others.
    const level = reason === 'auth_failed' ? 'error' : 'warn'
    this.#logger[level]({ reason, ...more, ...fields() }, `connection refused: ${words[reason]}`)
  }
}

import type { Server } from 'node:http'
import type { Revocation } from '../auth/index.ts'
import type { RefusalCounts } from './crowd/refusals.ts'
import type { FetchHandler } from './http/http-routes.ts'
import type { AcknowledgementCounts } from './measure/acknowledgement-collector.ts'

export interface CloseOptions {
  /** Default 0. */
  readonly drainMs?: number
  /** Default: no other limit. */
  readonly withinMs?: number
}

export interface Gateway extends FetchHandler {
  /**
   * Answers WebSocket upgrades of this server on the gateway's path. No other listener hears of those, in whatever order
   * they were attached; all other paths are left to them. Without others, what offers another protocol is served in
   * HTTP/1.1, as by a server without upgrades.
   * @throws LS_CONFIG_INVALID when another gateway has that path of the server
   */
  attach(server: Server): void
  /** Answers the HTTP routes, such as `GET /lockstep/health`. */
  fetch(request: Request): Promise<Response>
  /** Writes what sockets were given in this turn of the loop now, and not at its end. */
  flush(): void
  /** Sockets that are open or still closing. */
  connections(): number
  /** Bytes that wait for peers that do not read. Looks at every connection. */
  outboundBytes(): number
  /** Clients that were turned away, by reason. */
  readonly refusals: RefusalCounts
  /** Counts of events that clients have acknowledged; zero without a probe. */
  readonly acknowledgements: AcknowledgementCounts
  /**
   * Takes it away at once, from what is open and from what is just being asked for here: a channel by an
   * unsubscribe push (2000), all else by closing with 3507. Nothing is remembered: what the user asks for
   * afterwards is decided by `authenticate` and `canSubscribe`.
   */
  revoke(revocation: Revocation): void
  /** Asks again for every live subscription, and ends those that get a no. */
  reauthorize(): Promise<void>
  /**
   * Asks again for all that is granted: for every live subscription at once, and for every connection by closing it
   * with 3011, spread over `overMs`, so that its token is checked when it comes back.
   */
  grantAnew(overMs: number): Promise<void>
  /** Refuses new connections from here on; open ones go on. */
  stopAccepting(): void
  /**
   * Refuses new connections, closes all others with 3001 spread over `drainMs`, those that wait for an answer last,
   * and resolves when all are gone: a peer that does not answer is cut off `closeTimeoutMs` after `drainMs`, and after
   * `withinMs` at the latest.
   */
  close(options?: CloseOptions): Promise<void>
}

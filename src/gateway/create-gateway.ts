import type { IncomingMessage, Server } from 'node:http'
import type { Duplex } from 'node:stream'
import { WebSocketServer, type ServerOptions } from 'ws'
import { messageOf } from '../core/index.ts'
import { closeCodes } from '../protocol/index.ts'
import { Acknowledgements, type AcknowledgementCounts } from './acknowledgements.ts'
import { addressOf, Addresses } from './addresses.ts'
import { Connections } from './connections.ts'
import { drain } from './drain.ts'
import { FailedChecks } from './failed-checks.ts'
import { createRoutes, type FetchHandler } from './http-routes.ts'
import type { Revocation } from './identity.ts'
import { longestFrameBytes, resolveOptions, type GatewayLimits, type GatewayOptions } from './options.ts'
import { isOriginAllowed } from './origin.ts'
import { Flusher } from './outbound.ts'
import { Refusals, type RefusalCounts } from './refusals.ts'
import { Reauthorizer } from './reauthorizer.ts'
import { Session } from './session.ts'
import type { SessionContext } from './session-context.ts'
import { bindSocket, GatewaySocket } from './socket.ts'
import { SocketTap } from './socket-tap.ts'
import { refuseUpgrade, routeUpgrades } from './upgrades.ts'

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
  /** What clients have acknowledged; nothing without a probe. */
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

/** Fragments of one message; browsers send one, and a proxy that cuts messages up makes few. */
const maxFragments = 128
/** TCP chunks that hold one unfinished frame. */
const maxBufferedChunks = 2_048

/**
 * The WebSocket door of a node. It knows sessions, frames and limits; what a token means, who may hear what, and
 * what an operation does reach it through ports.
 * @throws LS_CONFIG_INVALID
 */
export function createGateway(options: GatewayOptions): Gateway {
  return new WebSocketGateway(options)
}

class WebSocketGateway implements Gateway {
  readonly #context: SessionContext
  readonly #webSockets: InstanceType<typeof WebSocketServer<typeof GatewaySocket>>
  readonly #routes: FetchHandler
  readonly #detach = new Map<Server, () => void>()
  readonly #addresses: Addresses
  readonly #reauthorizer: Reauthorizer | undefined
  #isAccepting = true
  #closing: Promise<void> | undefined

  constructor(options: GatewayOptions) {
    const settings = resolveOptions(options)
    const { ports } = options
    const probe = ports.probe?.isOn === true ? ports.probe : undefined
    const acknowledgements = probe && new Acknowledgements(probe, settings.clock)
    const tap = acknowledgements && new SocketTap(probe, settings.clock, acknowledgements)
    this.#context = {
      ports,
      settings,
      connections: new Connections<Session>(settings),
      refusals: new Refusals(ports.logger, settings.clock),
      failedChecks: new FailedChecks(settings.clock),
      flusher: new Flusher(tap && (() => tap.flushed())),
      tap,
      acknowledgements,
    }
    this.#webSockets = new WebSocketServer(webSocketOptions(settings.limits))
    const { reauthorizeMs, clock } = settings
    this.#addresses = new Addresses(settings.limits, clock.monotonic())
    if (reauthorizeMs > 0) {
      this.#reauthorizer = new Reauthorizer(() => this.#context.connections.all(), clock, reauthorizeMs)
      this.#reauthorizer.start()
    }
    this.#routes = createRoutes(options.ports, {
      clock,
      isStopping: () => this.#closing !== undefined,
      webSocketPath: settings.path,
      isAttached: () => this.#detach.size > 0,
      onNotAttached: () => this.#context.refusals.note('not_attached', () => ({ path: settings.path })),
    })
  }

  attach(server: Server): void {
    if (this.#detach.has(server)) return
    const detach = routeUpgrades(server, this.#context.settings.path, (request, socket, head) =>
      this.#upgrade(request, socket, head),
    )
    this.#detach.set(server, detach)
  }

  fetch(request: Request): Promise<Response> {
    return this.#routes.fetch(request)
  }

  flush(): void {
    this.#context.flusher.flushNow()
  }

  connections(): number {
    return this.#context.connections.size
  }

  outboundBytes(): number {
    return this.#context.connections.all().reduce((sum, session) => sum + session.outboundBytes, 0)
  }

  get refusals(): RefusalCounts {
    return this.#context.refusals.counts
  }

  get acknowledgements(): AcknowledgementCounts {
    return this.#context.acknowledgements?.counts ?? { taken: 0, rejected: 0 }
  }

  revoke(revocation: Revocation): void {
    for (const session of this.#context.connections.all()) session.revoke(revocation)
  }

  async reauthorize(): Promise<void> {
    for (const session of this.#context.connections.all()) await session.reauthorize()
  }

  async grantAnew(overMs: number): Promise<void> {
    const { connections, settings } = this.#context
    const sendAway = drain({
      connections: connections.all(),
      overMs,
      clock: settings.clock,
      close: (session) => session.close(closeCodes.reconnect, 'rights may have changed'),
    })
    await Promise.all([this.reauthorize(), sendAway])
  }

  stopAccepting(): void {
    this.#isAccepting = false
  }

  close(options: CloseOptions = {}): Promise<void> {
    this.stopAccepting()
    this.#closing ??= this.#drain(options.drainMs ?? 0, options.withinMs ?? Infinity)
    return this.#closing
  }

  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const { connections, settings } = this.#context
    if (!this.#isAccepting) return refuseUpgrade(socket, '503 Service Unavailable')
    if (connections.size >= settings.limits.maxConnections) return this.#turnAway(socket, 'node_limit')
    // Asking for the address makes the socket remember it, on every connection.
    const address = this.#addresses.matter ? addressOf(request, settings.proxyHops) : ''
    const refusal = this.#addresses.admit(address, settings.clock.monotonic())
    if (refusal !== undefined) {
      return this.#turnAway(socket, refusal === 'address' ? 'address_limit' : 'node_limit')
    }
    // A handshake that fails ends in a close, too.
    if (this.#addresses.countsOpen) socket.once('close', () => this.#addresses.release(address))
    try {
      this.#webSockets.handleUpgrade(request, socket, head, (webSocket) =>
        this.#welcome(webSocket, socket, request),
      )
    } catch (error) {
      // Something took the socket before the server emitted the upgrade, so it is left alone.
      this.#context.ports.logger.error({ error }, `upgrade failed: ${messageOf(error)}`)
    }
  }

  #turnAway(socket: Duplex, reason: 'address_limit' | 'node_limit'): void {
    this.#context.refusals.note(reason)
    refuseUpgrade(socket, reason === 'address_limit' ? '429 Too Many Requests' : '503 Service Unavailable')
  }

  #welcome(webSocket: GatewaySocket, stream: Duplex, request: IncomingMessage): void {
    const session = new Session(webSocket, this.#context)
    bindSocket(webSocket, stream, session)
    this.#context.connections.add(session)
    // Refused after the handshake: a page that gets HTTP 403 sees a broken connection and retries for ever.
    if (!isOriginAllowed(request.headers, this.#context.settings.allowedOrigins)) {
      const { origin, host } = request.headers
      session.refuse('origin', closeCodes.originRefused, 'origin not allowed', () => ({ origin, host }))
    }
  }

  async #drain(drainMs: number, withinMs: number): Promise<void> {
    this.#reauthorizer?.close()
    const { connections, settings } = this.#context
    // From the beginning, so that it comes in time whatever the steps between wait for.
    const cutOffMs = Math.min(drainMs + settings.limits.closeTimeoutMs, Math.max(0, withinMs))
    const cancel = settings.clock.after(cutOffMs, () => {
      for (const session of connections.all()) session.terminate()
    })
    await drain({
      connections: connections.all(),
      overMs: drainMs,
      clock: settings.clock,
      close: (session) => session.close(closeCodes.shutdown, 'shutdown'),
    })
    // Handshakes that were under way when the list was made.
    for (const session of connections.all()) session.close(closeCodes.shutdown, 'shutdown')
    await connections.empty()
    cancel()
    for (const detach of this.#detach.values()) detach()
    this.#detach.clear()
  }
}

function webSocketOptions(limits: GatewayLimits): ServerOptions<typeof GatewaySocket> {
  // Typings of ws 8.18 do not know `closeTimeout` yet.
  const options: ServerOptions<typeof GatewaySocket> & { readonly closeTimeout: number } = {
    noServer: true,
    // Sessions keep count themselves; ws would add a closure to each.
    clientTracking: false,
    perMessageDeflate: false,
    maxPayload: longestFrameBytes(limits),
    maxFragments,
    maxBufferedChunks,
    closeTimeout: limits.closeTimeoutMs,
    WebSocket: GatewaySocket,
    handleProtocols: (offered) => (offered.has('centrifuge-json') ? 'centrifuge-json' : false),
  }
  return options
}

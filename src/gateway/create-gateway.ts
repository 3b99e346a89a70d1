import type { IncomingMessage, Server } from 'node:http'
import type { Duplex } from 'node:stream'
import { WebSocketServer } from 'ws'
import { messageOf } from '../core/index.ts'
import { closeCodes } from '../protocol/index.ts'
import { AcknowledgementCollector, type AcknowledgementCounts } from './measure/acknowledgement-collector.ts'
import { AnswerCosts } from './crowd/answer-costs.ts'
import { addressOf, Addresses } from './crowd/addresses.ts'
import { Connections } from './crowd/connections.ts'
import { drain } from './crowd/drain.ts'
import { FailedChecks, type Revocation } from '../auth/index.ts'
import { createRoutes, type FetchHandler } from './http/http-routes.ts'
import type { CloseOptions, Gateway } from './gateway.ts'
import { resolveOptions, type GatewayOptions } from './contract/gateway-options.ts'
import { isOriginAllowed } from './contract/origin.ts'
import { Flusher } from './connection/outbound.ts'
import { Refusals, type RefusalCounts } from './crowd/refusals.ts'
import { Reauthorizer } from './connection/reauthorizer.ts'
import { Session } from './connection/session.ts'
import type { SessionContext } from './connection/session-context.ts'
import { bindSocket, type GatewaySocket } from './connection/socket.ts'
import { webSocketOptions } from './connection/web-socket-options.ts'
import { DeliveryRecorder } from './measure/delivery-recorder.ts'
import { refuseUpgrade, routeUpgrades } from './crowd/upgrades.ts'

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
  readonly #connections: Connections<Session>
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
    const acknowledgements = probe && new AcknowledgementCollector(probe, settings.clock)
    const deliveryRecorder = acknowledgements && new DeliveryRecorder(probe, settings.clock, acknowledgements)
    this.#connections = new Connections(settings)
    this.#context = {
      ports,
      settings,
      crowd: this.#connections,
      refusals: new Refusals(ports.logger, settings.clock),
      answerCosts: new AnswerCosts(),
      failedChecks: new FailedChecks(settings.clock),
      flusher: new Flusher(deliveryRecorder && (() => deliveryRecorder.flushed())),
      deliveryRecorder,
      acknowledgements,
    }
    this.#webSockets = new WebSocketServer(webSocketOptions(settings.limits))
    const { reauthorizeMs, clock } = settings
    this.#addresses = new Addresses(settings.limits, clock.monotonic())
    if (reauthorizeMs > 0) {
      this.#reauthorizer = new Reauthorizer(() => this.#connections.all(), clock, ports.logger, reauthorizeMs)
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
    return this.#connections.size
  }

  outboundBytes(): number {
    return this.#connections.all().reduce((sum, session) => sum + session.outboundBytes, 0)
  }

  get refusals(): RefusalCounts {
    return this.#context.refusals.counts
  }

  get acknowledgements(): AcknowledgementCounts {
    return this.#context.acknowledgements?.counts ?? { taken: 0, rejected: 0 }
  }

  revoke(revocation: Revocation): void {
    for (const session of this.#connections.all()) session.revoke(revocation)
  }

  async reauthorize(): Promise<void> {
    for (const session of this.#connections.all()) await session.reauthorize()
  }

  async grantAnew(overMs: number): Promise<void> {
    const sendAway = drain({
      connections: this.#connections.all(),
      overMs,
      clock: this.#context.settings.clock,
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
    const connections = this.#connections
    const { settings } = this.#context
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
      // Leave the socket alone: another listener took it before the server emitted the upgrade.
      this.#context.ports.logger.error({ error }, `upgrade failed: ${messageOf(error)}`)
    }
  }

  #turnAway(socket: Duplex, reason: 'address_limit' | 'node_limit'): void {
    this.#context.refusals.note(reason)
    refuseUpgrade(socket, reason === 'address_limit' ? '429 Too Many Requests' : '503 Service Unavailable')
  }

  #welcome(webSocket: GatewaySocket, stream: Duplex, request: IncomingMessage): void {
    const { headers, url = '' } = request
    const seen = this.#context.ports.seesRequest === true ? { headers, url } : undefined
    const session = new Session(webSocket, this.#context, seen)
    bindSocket(webSocket, stream, session)
    this.#connections.add(session)
    // Refuse the origin after the handshake: a page that gets HTTP 403 sees a broken connection and retries for ever.
    if (!isOriginAllowed(request.headers, this.#context.settings.allowedOrigins)) {
      const { origin, host } = request.headers
      session.refuse('origin', closeCodes.originRefused, 'origin not allowed', () => ({ origin, host }))
    }
  }

  async #drain(drainMs: number, withinMs: number): Promise<void> {
    this.#reauthorizer?.close()
    const connections = this.#connections
    const { settings } = this.#context
    // Count from the beginning, so that the cut-off comes in time whatever the steps between wait for.
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

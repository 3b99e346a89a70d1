import type { IncomingMessage, Server } from 'node:http'
import type { Duplex } from 'node:stream'
import { describeGiven, hasMethods, isPromise, LockstepError, peek } from '../../core/index.ts'
import { ignoreUpgrade, wantsOtherProtocol } from './ignored-upgrade.ts'

export type UpgradeHandler = (request: IncomingMessage, socket: Duplex, head: Buffer) => void

type Emit = (this: Server, event: string | symbol, ...args: unknown[]) => boolean

/**
 * The paths of one HTTP server that belong to Lockstep. An upgrade to one of them reaches its handler and no other
 * listener: most libraries answer every upgrade they hear of, by a handshake of their own, an error, or a closed socket.
 * A listener cannot keep an event from the others, so `emit` of this one server is wrapped, which holds in whatever
 * order they are attached.
 */
class ServerUpgrades {
  readonly #server: Server
  readonly #handlers = new Map<string, UpgradeHandler>()
  readonly #emit: Emit
  readonly #wrapped: Emit
  readonly #hadOwnEmit: boolean

  constructor(server: Server) {
    this.#server = server
    this.#hadOwnEmit = Object.hasOwn(server, 'emit')
    const emit = Reflect.get(server, 'emit') as Emit
    const route = (args: readonly unknown[]): boolean => this.#route(args as Parameters<UpgradeHandler>)
    this.#emit = emit
    this.#wrapped = function (event, ...args) {
      return (event === 'upgrade' && route(args)) || emit.call(this, event, ...args)
    }
    Reflect.set(server, 'emit', this.#wrapped)
    // Node asks for listeners before it emits: without one, it serves an upgrade as a plain request.
    server.on('upgrade', this.#onOtherUpgrade)
  }

  /** @throws LS_CONFIG_INVALID when the path is taken */
  add(path: string, handler: UpgradeHandler): void {
    if (this.#handlers.has(path)) {
      throw new LockstepError('LS_CONFIG_INVALID', {
        message: `Another Lockstep is attached to this server at "${path}". Give one of them another gateway.path.`,
      })
    }
    this.#handlers.set(path, handler)
  }

  /** True when that was the last path. */
  remove(path: string): boolean {
    this.#handlers.delete(path)
    if (this.#handlers.size > 0) return false
    this.#server.off('upgrade', this.#onOtherUpgrade)
    // Wrapped once more by somebody else, it stays where it is, and passes everything on.
    if (Reflect.get(this.#server, 'emit') !== this.#wrapped) return true
    if (this.#hadOwnEmit) Reflect.set(this.#server, 'emit', this.#emit)
    else Reflect.deleteProperty(this.#server, 'emit')
    return true
  }

  #route([request, socket, head]: Parameters<UpgradeHandler>): boolean {
    const handler = this.#handlers.get(request.url?.split('?', 1)[0] ?? '')
    handler?.(request, socket, head)
    return handler !== undefined
  }

  readonly #onOtherUpgrade: UpgradeHandler = (request, socket, head) => {
    if (this.#server.listenerCount('upgrade') > 1) return
    // No other listener can answer it, and it would hang for ever.
    if (wantsOtherProtocol(request)) ignoreUpgrade(this.#server, request, socket, head)
    else refuseUpgrade(socket, '404 Not Found')
  }
}

/** Upgrade listeners by server, so that several gateways share one. */
const attached = new WeakMap<Server, ServerUpgrades>()

/**
 * Gives all upgrades of the server to `path` to the handler, and to nobody else. Returns what ends it.
 * @throws LS_CONFIG_INVALID when the path is taken, and for what is no server
 */
export function routeUpgrades(server: Server, path: string, handler: UpgradeHandler): () => void {
  assertServer(server)
  let upgrades = attached.get(server)
  if (upgrades === undefined) attached.set(server, (upgrades = new ServerUpgrades(server)))
  const serverUpgrades = upgrades
  serverUpgrades.add(path, handler)
  return () => {
    if (serverUpgrades.remove(path)) attached.delete(server)
  }
}

function assertServer(value: unknown): void {
  if (typeof value === 'object' && hasMethods(value, ['on', 'emit', 'listenerCount'])) return
  throw new LockstepError('LS_CONFIG_INVALID', {
    message: `attach takes the HTTP server of Node, and got ${describeGiven(value)}. ${serverMeant(value)}`,
  })
}

function serverMeant(value: unknown): string {
  const write = 'lockstep.attach(server).'
  if (isPromise(value)) return `Write await before it, then ${write}`
  if (typeof value === 'function') return `Write const server = app.listen(port), then ${write}`
  if (peek(value, 'server') !== undefined) return 'Write lockstep.attach(app.server).'
  return `Write const server = createServer(…), then ${write}`
}

/** Answers an upgrade with an HTTP status and ends its socket. */
export function refuseUpgrade(socket: Duplex, status: string): void {
  // The peer may be gone already, and nobody else listens on this socket any more.
  socket.on('error', () => socket.destroy())
  socket.once('finish', () => socket.destroy())
  socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`)
}

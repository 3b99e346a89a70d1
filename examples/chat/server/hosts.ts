import { createServer, type Server } from 'node:http'
import { isIP } from 'node:net'
import { hostname } from 'node:os'
import type { MiddlewareHandler } from 'hono'

/**
 * Whether a request names this server. A page of another site can point a name of its own at this address, and would then
 * be of one origin with the demo; so a name must be known. An address cannot be pointed anywhere.
 */
export function isHostKnown(host: string | undefined, names: ReadonlySet<string>): boolean {
  const name = nameOf(host)
  return name !== undefined && (isIP(name) !== 0 || name.endsWith('.localhost') || names.has(name))
}

/** Names of the demo: `localhost`, this machine, the host it listens on, and the names in `ALLOWED_HOSTS`. */
export function knownHosts(listening: string, more: readonly string[]): ReadonlySet<string> {
  return new Set(['localhost', hostname(), listening, ...more].map((name) => name.toLowerCase()))
}

const refusal = {
  code: 'DEMO_HOST_UNKNOWN',
  message:
    'This demo does not go by that name. List it in ALLOWED_HOSTS, with commas between, and start again.',
}

export function onlyKnownHosts(names: ReadonlySet<string>): MiddlewareHandler {
  return async (context, next) => {
    if (isHostKnown(context.req.header('host'), names)) return next()
    return context.json(refusal, 403)
  }
}

/**
 * The same for WebSockets, which no route sees: what is attached to the server that this gives hears only of upgrades that
 * name a known host.
 */
export function upgradesOfKnownHosts(server: Server, names: ReadonlySet<string>): Server {
  const inner = createServer((request, response) => void server.emit('request', request, response))
  server.on('upgrade', (request, socket, head) => {
    if (isHostKnown(request.headers.host, names)) return inner.emit('upgrade', request, socket, head)
    // The peer may be gone already.
    socket.on('error', () => socket.destroy())
    socket.once('finish', () => socket.destroy())
    return socket.end('HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 0\r\n\r\n')
  })
  return inner
}

/** Name of a host without the port, and an IPv6 address without its brackets; undefined for a text that is no host. */
function nameOf(host: string | undefined): string | undefined {
  const [, address, name] = /^(?:\[([0-9a-f:.]+)\]|([a-z0-9._-]+))(?::\d{1,5})?$/i.exec(host ?? '') ?? []
  return (address ?? name)?.toLowerCase()
}

import type { IncomingMessage, Server } from 'node:http'
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

/** What the demo is called: `localhost`, this machine, the host it listens on, and what `ALLOWED_HOSTS` lists. */
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

/** The same for WebSockets, which no route sees. To be called after Lockstep is attached, so that it comes first. */
export function refuseSocketsOfUnknownHosts(server: Server, names: ReadonlySet<string>): void {
  server.prependListener('upgrade', ({ headers }: IncomingMessage, socket) => {
    if (isHostKnown(headers.host, names)) return
    socket.write('HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 0\r\n\r\n')
    socket.destroy()
  })
}

/** Without the port, and an IPv6 address without its brackets; undefined for what is no host. */
function nameOf(host: string | undefined): string | undefined {
  const [, address, name] = /^(?:\[([0-9a-f:.]+)\]|([a-z0-9._-]+))(?::\d{1,5})?$/i.exec(host ?? '') ?? []
  return (address ?? name)?.toLowerCase()
}

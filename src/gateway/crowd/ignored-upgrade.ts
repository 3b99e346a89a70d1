import type { IncomingMessage, Server } from 'node:http'
import type { Duplex } from 'node:stream'
import { TLSSocket } from 'node:tls'

const dropped = new Set(['upgrade', 'connection', 'http2-settings'])

/** Whether the request wants another protocol than WebSocket, such as `h2c` of Java's HttpClient and `curl --http2`. */
export function wantsOtherProtocol({ headers }: IncomingMessage): boolean {
  return headers.upgrade?.toLowerCase() !== 'websocket'
}

/**
 * Serves a request as if it had not asked for another protocol, which a server may always do (RFC 9110, section 7.8).
 * Node does so itself, but only while nobody listens for upgrades; by then it has let go of the socket, so the request
 * is put back in front of it and the server begins anew.
 */
export function ignoreUpgrade(server: Server, request: IncomingMessage, socket: Duplex, head: Buffer): void {
  const { method = 'GET', url = '/', httpVersion, rawHeaders, headers } = request
  const lines = [`${method} ${url} HTTP/${httpVersion}`]
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] ?? ''
    if (!dropped.has(name.toLowerCase())) lines.push(`${name}: ${rawHeaders[at + 1] ?? ''}`)
  }
  if (/\bclose\b/i.test(headers.connection ?? '')) lines.push('Connection: close')
  socket.unshift(Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1'), head]))
  server.emit(socket instanceof TLSSocket ? 'secureConnection' : 'connection', socket)
}

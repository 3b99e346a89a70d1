import type { Duplex } from 'node:stream'
import { WebSocket, type RawData } from 'ws'
import { limits } from '../../protocol/index.ts'

/** Listener for the events of one socket. */
export interface SocketOwner {
  receive(data: Buffer, isBinary: boolean): void
  /** The connection or its framing broke; the close follows. */
  broke(): void
  /** Called once, last. */
  gone(): void
}

/** The server's end of a WebSocket. It knows its owner, so that all sockets share the same listeners. */
export class GatewaySocket extends WebSocket {
  owner: SocketOwner | undefined
  /** Stream that the socket's frames are written to. */
  stream: Duplex | undefined
}

/** Gives a socket its owner. Every event of the socket, errors included, has a listener from here on. */
export function bindSocket(socket: GatewaySocket, stream: Duplex, owner: SocketOwner): void {
  socket.owner = owner
  socket.stream = stream
  socket.on('message', onMessage)
  socket.on('close', onClose)
  socket.on('error', onError)
}

function onMessage(this: WebSocket, data: RawData, isBinary: boolean): void {
  // `binaryType` is left at its default, so a message is one Buffer.
  ownerOf(this)?.receive(data as Buffer, isBinary)
}

function onClose(this: WebSocket): void {
  const owner = ownerOf(this)
  if (this instanceof GatewaySocket) {
    this.owner = undefined
    this.stream = undefined
  }
  owner?.gone()
}

// A frame that breaks RFC 6455, or a connection that broke: ws closes the socket itself, with 1002, 1007, 1008 or
// 1009. Without a listener the error would end the process.
function onError(this: WebSocket): void {
  ownerOf(this)?.broke()
}

function ownerOf(socket: WebSocket): SocketOwner | undefined {
  return socket instanceof GatewaySocket ? socket.owner : undefined
}

/** Calls `work` once the kernel has all that was sent before, and never if the connection breaks first. */
export function afterSent(socket: GatewaySocket, work: () => void): void {
  // An empty write puts nothing on the wire, and has its turn behind all others, however few bytes they are; `drain`
  // comes only after a high-water mark.
  socket.stream?.write('', (error) => {
    if (error === undefined || error === null) work()
  })
}

/**
 * Starts the closing handshake. The reason is cut to what a close frame can carry, and must not be empty: the SDK
 * looks at the range of a code only if there is a reason, and would reconnect after a terminal code without one.
 */
export function closeSocket(socket: GatewaySocket, code: number, reason: string): void {
  let text = reason
  while (Buffer.byteLength(text) > limits.maxCloseReasonBytes) text = text.slice(0, -1)
  socket.close(code, text)
}

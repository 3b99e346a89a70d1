import * as ws from 'ws'
import type { FeedEvent } from '../../feeds/index.ts'
import { publicationOf } from '../wire/publications.ts'
import type { GatewaySocket } from './socket.ts'

interface Sender {
  sendFrame(frame: readonly Buffer[]): void
}

interface Framing {
  frame(data: Buffer, options: object): readonly Buffer[]
}

const senderOfWs = '_sender'
/** @types/ws does not know it. */
const framing = (ws as { readonly Sender?: Partial<Framing> }).Sender

/**
 * The WebSocket frames of events that go to many sockets, each made once: a frame of a server is not masked (RFC 6455,
 * section 5.1), so it is the same for all. `ws` has no public way to send one; where its sender is not as expected, the
 * text is sent as any other.
 */
export class SharedFrames {
  readonly #frames = new WeakMap<FeedEvent, readonly Buffer[]>()

  send(socket: GatewaySocket, event: FeedEvent): void {
    if (socket.readyState !== ws.WebSocket.OPEN) return
    const sender = (socket as unknown as Partial<Record<string, Partial<Sender>>>)[senderOfWs]
    const frame = sender?.sendFrame === undefined ? undefined : this.#frameOf(event)
    if (frame === undefined) socket.send(publicationOf(event).push)
    else (sender as Sender).sendFrame(frame)
  }

  #frameOf(event: FeedEvent): readonly Buffer[] | undefined {
    const known = this.#frames.get(event)
    if (known !== undefined || framing?.frame === undefined) return known
    const options = { fin: true, rsv1: false, opcode: 1, mask: false, readOnly: true }
    // Concatenate the frame, so that each socket is written to once.
    const frame = [Buffer.concat(framing.frame(Buffer.from(publicationOf(event).push), options))]
    this.#frames.set(event, frame)
    return frame
  }
}

// The frame that is made once must really be what leaves: a quiet fall back to a frame for each socket would cost, and show nothing.
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { expect, it } from 'vitest'
import { WebSocket, WebSocketServer } from 'ws'
import { FeedEvent } from '../../../src/feeds/index.ts'
import { SharedFrames } from '../../../src/gateway/connection/shared-frames.ts'
import type { GatewaySocket } from '../../../src/gateway/connection/socket.ts'
import { publicationOf } from '../../../src/gateway/wire/publications.ts'

const event = new FeedEvent({
  channel: 'room:1',
  offset: 1,
  operationId: '01900000-0000-7000-8000-000000000000',
  type: 'noted',
  data: JSON.stringify({ text: 'ü'.repeat(70_000) }),
  at: new Date(0),
})

it('sends one and the same frame to many sockets, and not by the way of each', async () => {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1', perMessageDeflate: false })
  await once(server, 'listening')
  const frames = new SharedFrames()
  const written = new Set<Buffer>()
  server.on('connection', (socket, { socket: wire }) => {
    Object.assign(socket, { send: () => expect.unreachable('framed for this socket alone') })
    const write = wire.write.bind(wire)
    Object.assign(wire, {
      write(chunk: Buffer) {
        written.add(chunk)
        return write(chunk)
      },
    })
    frames.send(socket as unknown as GatewaySocket, event)
  })
  const clients = [1, 2, 3].map(
    () => new WebSocket(`ws://127.0.0.1:${(server.address() as AddressInfo).port}`),
  )
  try {
    const received = await Promise.all(clients.map((client) => once(client, 'message')))
    for (const [data] of received) expect(String(data)).toBe(publicationOf(event).push)
    expect(written.size).toBe(1)
  } finally {
    for (const client of clients) client.terminate()
    server.close()
  }
})

import { createServer } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { Centrifuge, type PublicationContext, type Subscription } from 'centrifuge'
import { WebSocket } from 'ws'
import { signToken } from '../../src/index.ts'
import { secret, type World } from './world.ts'

export interface Served {
  readonly url: string
  readonly http: string
  /** Bytes written to all sockets of the server so far. */
  bytesWritten(): number
  close(): Promise<void>
}

/** Serves a world's WebSocket on a free port. */
export async function serve(world: Pick<World, 'lockstep'>, port = 0): Promise<Served> {
  const server = createServer((_, response) => response.writeHead(404).end())
  world.lockstep.attach(server)
  const sockets: Socket[] = []
  server.on('connection', (socket) => sockets.push(socket))
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
  const address = server.address() as AddressInfo
  return {
    url: `ws://127.0.0.1:${address.port}/lockstep/ws`,
    http: `http://127.0.0.1:${address.port}`,
    bytesWritten: () => sockets.reduce((sum, { bytesWritten }) => sum + bytesWritten, 0),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

/** An official client, unmodified. */
export function centrifuge(url: string, user: string): Centrifuge {
  return new Centrifuge(url, {
    websocket: WebSocket,
    minReconnectDelay: 20,
    maxReconnectDelay: 200,
    getToken: () => signToken(secret, user, 3_600),
  })
}

/** Collects what arrives, and lets a test wait until enough has. */
export class Inbox<Item> {
  readonly items: Item[] = []
  #wake: (() => void)[] = []

  readonly push = (item: Item): void => {
    this.items.push(item)
    for (const wake of this.#wake.splice(0)) wake()
  }

  /** Resolves when the condition holds; the test's own time-out is the limit. */
  async until(condition: (items: readonly Item[]) => boolean): Promise<readonly Item[]> {
    while (!condition(this.items)) await new Promise<void>((resolve) => this.#wake.push(resolve))
    return this.items
  }
}

export interface Listening {
  readonly subscription: Subscription
  readonly inbox: Inbox<PublicationContext>
}

/** Subscribes and resolves once the server has answered. */
export async function listen(client: Centrifuge, channel: string, recoverable = true): Promise<Listening> {
  const subscription = client.newSubscription(channel, { recoverable, positioned: true })
  const inbox = new Inbox<PublicationContext>()
  subscription.on('publication', inbox.push)
  subscription.subscribe()
  await subscription.ready()
  return { subscription, inbox }
}

export async function connected(client: Centrifuge): Promise<Centrifuge> {
  client.connect()
  await client.ready()
  return client
}

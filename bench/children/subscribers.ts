// Clients as an application has them, and the moments at which their callbacks were called.
import { Centrifuge } from 'centrifuge'
import { io } from 'socket.io-client'
import { WebSocket } from 'ws'
import { answerBench, nowUs } from '../harness/child-host.ts'

export type ClientKind = 'lockstep' | 'centrifugo' | 'socket.io' | 'ws'

export interface SubscribeRequest {
  readonly client: ClientKind
  readonly ports: readonly number[]
  /** Number of channels; each gets a client of its own on each port. */
  readonly channels: number
}

/** Number of the message, and when the callback was called. */
export type Received = readonly [n: number, receivedUs: number]

interface Event {
  readonly data: { readonly n: number }
}

const received: Received[][] = []

answerBench({
  /** Resolves to the number of the group. */
  subscribe: async ({ client, ports, channels }: SubscribeRequest): Promise<number> => {
    const group: Received[] = []
    const hear = (event: Event): void => void group.push([event.data.n, nowUs()])
    for (const port of ports) {
      for (let n = 0; n < channels; n += 1) await subscribers[client](port, `c${n}`, hear)
    }
    return received.push(group) - 1
  },
  count: (group: number) => received[group]?.length ?? 0,
  take: (group: number) => received[group]?.splice(0) ?? [],
})

type Subscribe = (port: number, channel: string, hear: (event: Event) => void) => Promise<unknown>

const subscribers: Readonly<Record<ClientKind, Subscribe>> = {
  lockstep: (port, channel, hear) =>
    subscribeCentrifuge(`ws://127.0.0.1:${port}/lockstep/ws`, { token: `user-${channel}` }, channel, hear),
  centrifugo: (port, channel, hear) =>
    subscribeCentrifuge(`ws://127.0.0.1:${port}/connection/websocket`, {}, channel, hear),
  'socket.io': (port, channel, hear) =>
    new Promise<void>((resolve) => {
      const socket = io(`http://127.0.0.1:${port}`, { transports: ['websocket'], forceNew: true })
      socket.on('noted', hear)
      socket.on('connect', () => socket.emit('join', channel, resolve))
    }),
  ws: (port, channel, hear) =>
    new Promise<void>((resolve) => {
      const socket = new WebSocket(`ws://127.0.0.1:${port}`, { perMessageDeflate: false })
      socket.on('open', () => socket.send(channel))
      socket.on('message', (data: Buffer) => {
        const text = data.toString()
        if (text === 'joined') resolve()
        else hear(JSON.parse(text) as Event)
      })
    }),
}

/** The official client, unmodified. */
async function subscribeCentrifuge(
  url: string,
  options: { readonly token?: string },
  channel: string,
  hear: (event: Event) => void,
): Promise<void> {
  const client = new Centrifuge(url, { websocket: WebSocket, ...options })
  const subscription = client.newSubscription(`room:${channel}`, { recoverable: true, positioned: true })
  subscription.on('publication', ({ data }) => hear(data as Event))
  subscription.subscribe()
  client.connect()
  await subscription.ready()
}

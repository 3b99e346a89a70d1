// A gateway on a real HTTP server, with an event source in memory and a clock that tests move themselves.
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { WebSocket } from 'ws'
import { LockstepError, silentLogger } from '../../../src/core/index.ts'
import {
  FeedEvent,
  type EventSource,
  type Joined,
  type JoinRequest,
  type PublicationTags,
  type Subscriber,
} from '../../../src/feeds/index.ts'
import {
  createGateway,
  type Gateway,
  type GatewayOptions,
  type GatewayPorts,
  type RpcHandler,
} from '../../../src/gateway/index.ts'
import { createTokenAuthenticator, signToken } from '../../../src/auth/index.ts'
import { ManualClock } from '../../support/manual-clock.ts'

export const secret = 'a secret for tests that is long enough'
export const token = (userId: string, ttlSeconds = 3_600): Promise<string> =>
  signToken(secret, userId, ttlSeconds)

class MemoryChannel {
  readonly events: FeedEvent[] = []
  readonly subscribers = new Set<Subscriber>()
}

/** Event source that is enough for the protocol: it keeps everything, in one epoch, in memory. */
export class MemoryEvents implements EventSource {
  epoch = 'e1'
  /** Offsets up to this one are no longer kept. */
  trimmedTo = 0
  /** A join of the channel waits for the promise. */
  readonly gates = new Map<string, Promise<void>>()
  readonly failures = new Map<string, unknown>()
  joins = 0
  readonly #channels = new Map<string, MemoryChannel>()

  append(channel: string, data: unknown, tags?: PublicationTags): void {
    const { events, subscribers } = this.#channel(channel)
    const event = encode(channel, events.length + 1, data, tags)
    events.push(event)
    for (const subscriber of subscribers) subscriber.deliver([event])
  }

  draft(channel: string, data: unknown): void {
    const operationId = '018f0000-0000-7000-8000-000000000000'
    const transient = { channel, type: 'note', operationId, data: JSON.stringify(data), at: new Date() }
    for (const subscriber of this.#channel(channel).subscribers) subscriber.deliverTransient(transient)
  }

  reset(channel: string): void {
    const { subscribers } = this.#channel(channel)
    const those = [...subscribers]
    subscribers.clear()
    for (const subscriber of those) subscriber.reset()
  }

  subscribersOf(channel: string): number {
    return this.#channel(channel).subscribers.size
  }

  async join(channel: string, request: JoinRequest, subscriber: Subscriber): Promise<Joined> {
    this.joins += 1
    await this.gates.get(channel)
    if (this.failures.has(channel)) throw this.failures.get(channel)
    const { events, subscribers } = this.#channel(channel)
    const head = events.length
    const from = request.recoverFrom
    const known =
      from !== undefined &&
      (from.epoch === '' || from.epoch === this.epoch) &&
      from.offset <= head &&
      from.offset >= this.trimmedTo
    const missed = known ? events.slice(from.offset) : []
    const isTooMuch = missed.reduce((sum, { bytes }) => sum + bytes, 0) > (request.maxBytes ?? Infinity)
    let left = false
    return {
      kind: from === undefined ? 'fresh' : known && !isTooMuch ? 'recovered' : 'unrecoverable',
      position: { offset: head, epoch: this.epoch },
      missed: isTooMuch ? [] : missed,
      wasReset: false,
      start: () => {
        if (left) return
        subscribers.add(subscriber)
        const late = events.slice(head)
        if (late.length > 0) subscriber.deliver(late)
      },
      leave: () => {
        left = true
        subscribers.delete(subscriber)
      },
    }
  }

  #channel(name: string): MemoryChannel {
    let channel = this.#channels.get(name)
    if (channel === undefined) this.#channels.set(name, (channel = new MemoryChannel()))
    return channel
  }
}

function encode(channel: string, offset: number, data: unknown, tags?: PublicationTags): FeedEvent {
  const operationId = '018f0000-0000-7000-8000-000000000000'
  const at = new Date('2026-01-01T00:00:00.000Z')
  return new FeedEvent({ channel, offset, type: 'note', operationId, data: JSON.stringify(data), at }, tags)
}

export interface Logged {
  readonly level: string
  readonly message: string
  readonly fields: Readonly<Record<string, unknown>>
}

export interface World {
  readonly gateway: Gateway
  readonly server: Server
  readonly events: MemoryEvents
  readonly methods: Map<string, RpcHandler>
  readonly logged: Logged[]
  readonly url: string
  readonly port: number
  /** Bytes written to the sockets that are open. */
  bytesWritten(): number
  /** Breaks every connection without a word, as a network does. */
  cut(): void
  stop(): Promise<void>
}

/** Channels that begin with `room:` are open to all; `secret:` to nobody; others are unknown. */
export async function startWorld(
  options: Partial<Omit<GatewayOptions, 'ports'>> & { readonly ports?: Partial<GatewayPorts> } = {},
): Promise<World> {
  const events = new MemoryEvents()
  const methods = new Map<string, RpcHandler>([['echo', async ({ data }) => data]])
  const logged: Logged[] = []
  const log =
    (level: string) =>
    (fields: Readonly<Record<string, unknown>>, message: string): void => {
      logged.push({ level, message, fields })
    }
  const check = createTokenAuthenticator({ secret, ...(options.clock ? { clock: options.clock } : {}) })
  const ports: GatewayPorts = {
    authenticate: ({ token: given }) => check(given),
    authorizeSubscription: async (_user, channel) => {
      if (channel.startsWith('secret:')) throw new LockstepError('LS_CHANNEL_FORBIDDEN')
      if (!channel.startsWith('room:')) throw new LockstepError('LS_CHANNEL_UNKNOWN')
    },
    events,
    rpc: (method) => methods.get(method),
    status: () => 'ok',
    health: async () => ({ status: 'ok' }),
    logger: { ...silentLogger, warn: log('warn'), error: log('error') },
    ...options.ports,
  }
  const gateway = createGateway({ ...options, ports })
  const server = createServer((_request, response) => response.end('own route'))
  gateway.attach(server)
  const sockets = new Set<Socket>()
  server.on('connection', (socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    gateway,
    server,
    events,
    methods,
    logged,
    port,
    url: `ws://127.0.0.1:${port}/lockstep/ws`,
    bytesWritten: () => [...sockets].reduce((sum, socket) => sum + socket.bytesWritten, 0),
    cut: () => {
      for (const socket of sockets) socket.resetAndDestroy()
    },
    stop: async () => {
      const closed = gateway.close()
      // Time-outs of the gateway would never come on a clock that no test advances.
      if (options.clock instanceof ManualClock) options.clock.advance(60_000)
      server.closeAllConnections()
      server.close()
      await closed
    },
  }
}

export type Frame = Readonly<Record<string, unknown>> & { readonly id?: number }

/** A bare WebSocket that speaks the protocol by hand. */
export class RawClient {
  readonly socket: WebSocket
  readonly closed: Promise<{ readonly code: number; readonly reason: string }>
  /** Frames by the WebSocket message in which they came. */
  readonly messages: Frame[][] = []
  readonly #frames: Frame[] = []
  #waiting: ((frame: Frame) => void)[] = []

  private constructor(url: string, headers: Readonly<Record<string, string>>) {
    this.socket = new WebSocket(url, { headers })
    this.socket.on('error', () => {})
    this.closed = once(this.socket, 'close').then(([code, reason]: unknown[]) => ({
      code: code as number,
      reason: String(reason),
    }))
    this.socket.on('message', (data: Buffer) => this.#take(data.toString('utf8')))
  }

  static async open(url: string, headers: Readonly<Record<string, string>> = {}): Promise<RawClient> {
    const client = new RawClient(url, headers)
    await once(client.socket, 'open')
    return client
  }

  /** Opens and connects as the user. */
  static async connect(world: World, userId: string): Promise<RawClient> {
    const client = await RawClient.open(world.url)
    await client.ask({ id: 1, connect: { token: await token(userId) } })
    return client
  }

  /** Sends the frames as one WebSocket message. Strings go out as they are. */
  send(...frames: (object | string)[]): void {
    this.socket.send(
      frames.map((frame) => (typeof frame === 'string' ? frame : JSON.stringify(frame))).join('\n'),
    )
  }

  next(): Promise<Frame> {
    const frame = this.#frames.shift()
    if (frame !== undefined) return Promise.resolve(frame)
    return new Promise((resolve) => this.#waiting.push(resolve))
  }

  ask(frame: object | string): Promise<Frame> {
    this.send(frame)
    return this.next()
  }

  async take(count: number): Promise<Frame[]> {
    const frames: Frame[] = []
    while (frames.length < count) frames.push(await this.next())
    return frames
  }

  /** Resolves once the server has read all that was sent before. */
  async settled(id = 999_999): Promise<void> {
    this.send({ id, ping: {} })
    while ((await this.next()).id !== id);
  }

  #take(message: string): void {
    const frames = message.split('\n').map((line) => JSON.parse(line) as Frame)
    this.messages.push(frames)
    for (const frame of frames) {
      const waiting = this.#waiting.shift()
      if (waiting === undefined) this.#frames.push(frame)
      else waiting(frame)
    }
  }
}

/** A promise with its resolver outside. */
export function signal<T = void>(): { readonly promise: Promise<T>; fire(value: T): void } {
  let fire!: (value: T) => void
  const promise = new Promise<T>((resolve) => {
    fire = resolve
  })
  return { promise, fire }
}

// The other end of the wire for the client's tests: a WebSocket server that speaks the protocol, by script.
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { WebSocketServer, type WebSocket } from 'ws'
import type {
  Command,
  EventEnvelope,
  SubscribeRequest,
  SubscribeResult,
} from '../../../src/protocol/index.ts'

export const epoch = 'e1'

type Answer = { readonly data: unknown } | { readonly error: { code: number; message: string } } | undefined

export interface Call {
  readonly method: string
  readonly data: unknown
  readonly connection: Connection
  reply(answer: NonNullable<Answer>): void
}

export class Connection {
  readonly socket: WebSocket
  constructor(socket: WebSocket) {
    this.socket = socket
  }
  send(message: unknown): void {
    this.socket.send(JSON.stringify(message))
  }
  publish(channel: string, offset: number | undefined, data: unknown, tags?: Record<string, string>): void {
    this.send({ push: { channel, pub: { data, offset, tags } } })
  }
}

/** Values in the order they came; `next` waits for the one after the last it gave. */
export class Queue<Value> {
  readonly all: Value[] = []
  #given = 0
  #wake: (() => void) | undefined
  push(value: Value): void {
    this.all.push(value)
    this.#wake?.()
  }
  async next(): Promise<Value> {
    while (this.#given >= this.all.length) await new Promise<void>((resolve) => (this.#wake = resolve))
    const value = this.all[this.#given]
    this.#given += 1
    return value as Value
  }
}

export class FakeGateway {
  readonly #server: WebSocketServer
  readonly connects = new Queue<Connection>()
  readonly subscribes = new Queue<SubscribeRequest>()
  readonly unsubscribes = new Queue<string>()
  /** Data of `send` commands. */
  readonly sends = new Queue<unknown>()
  /** RPCs that `onRpc` left unanswered. */
  readonly calls = new Queue<Call>()
  readonly tokens: (string | undefined)[] = []
  user = 'ann'
  /** Error codes for the next connects, one each. */
  readonly refusals: number[] = []
  /** Answers an RPC at once; undefined leaves it to `calls`. */
  onRpc: (method: string, data: unknown) => Answer = () => undefined
  onSubscribe: (request: SubscribeRequest) => SubscribeResult | { error: { code: number; message: string } } =
    (request) => ({
      recoverable: true,
      positioned: true,
      epoch,
      offset: request.offset ?? 0,
      ...(request.recover === true ? { was_recovering: true, recovered: true } : {}),
    })

  private constructor(server: WebSocketServer) {
    this.#server = server
    server.on('connection', (socket) => {
      const connection = new Connection(socket)
      socket.on('message', (raw: Buffer) => {
        for (const line of raw.toString().split('\n')) this.#handle(connection, JSON.parse(line) as Command)
      })
    })
  }

  static async start(): Promise<FakeGateway> {
    const server = new WebSocketServer({ port: 0, host: '127.0.0.1' })
    await once(server, 'listening')
    return new FakeGateway(server)
  }

  get url(): string {
    return `ws://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  /** Cuts every connection, without a close frame. */
  cut(): void {
    for (const socket of this.#server.clients) socket.terminate()
  }

  async close(): Promise<void> {
    this.cut()
    await new Promise((resolve) => this.#server.close(resolve))
  }

  #handle(connection: Connection, command: Command): void {
    const { id } = command
    if (command.connect !== undefined) {
      this.tokens.push(command.connect.token)
      const code = this.refusals.shift()
      if (code !== undefined) {
        connection.send({ id, error: { code, message: 'refused' } })
        return
      }
      const channel = `user:${this.user}`
      const from = command.connect.subs?.[channel]
      const recovery = from === undefined ? {} : { was_recovering: true, recovered: true }
      const position = { recoverable: true, positioned: true, epoch, offset: from?.offset ?? 0 }
      const subs = { [channel]: { ...position, ...recovery } }
      connection.send({ id, connect: { client: 'c', version: '1', ping: 25, pong: true, subs } })
      this.connects.push(connection)
    } else if (command.subscribe !== undefined) {
      const result = this.onSubscribe(command.subscribe)
      connection.send('error' in result ? { id, ...result } : { id, subscribe: result })
      this.subscribes.push(command.subscribe)
    } else if (command.unsubscribe !== undefined) {
      connection.send({ id, unsubscribe: {} })
      this.unsubscribes.push(command.unsubscribe.channel)
    } else if (command.send !== undefined) {
      this.sends.push((command.send as { readonly data: unknown }).data)
    } else if (command.rpc !== undefined) {
      const { method, data } = command.rpc
      const reply = (answer: NonNullable<Answer>): void => {
        connection.send('error' in answer ? { id, ...answer } : { id, rpc: answer })
      }
      const answer = this.onRpc(method, data)
      if (answer === undefined) this.calls.push({ method, data, connection, reply })
      else reply(answer)
    }
  }
}

export function envelope(type: string, data: unknown, more: object = {}): EventEnvelope {
  return { type, data, operationId: 'op', at: '2026-01-01T00:00:00.000Z', ...more }
}

export function tokenOf(user: string, tenant?: string): string {
  return `h.${Buffer.from(JSON.stringify({ sub: user, tenant })).toString('base64url')}.s`
}

export function noticeFor(transactionId: string): Record<string, unknown> {
  return {
    transactionId,
    failedOperation: 'send_message',
    errorMessage: 'The operation failed.',
    errorCode: 'LS_OPERATION_FAILED',
    affectedLayers: ['database'],
    recoveryActions: ['retry'],
    userMessage: 'Your message was not saved.',
  }
}

export function committed(operationId: string, result: unknown = null): { readonly data: unknown } {
  return { data: { outcome: 'committed', operationId, result, positions: {} } }
}

/** Web Storage in memory, shared by as many clients as there are tabs. */
export class MemoryStorage {
  readonly map = new Map<string, string>()
  get length(): number {
    return this.map.size
  }
  key(index: number): string | null {
    return [...this.map.keys()][index] ?? null
  }
  getItem(key: string): string | null {
    return this.map.get(key) ?? null
  }
  setItem(key: string, value: string): void {
    this.map.set(key, value)
  }
  removeItem(key: string): void {
    this.map.delete(key)
  }
}

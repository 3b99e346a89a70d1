import { WebSocket } from 'ws'
import { newOperationId, signToken } from '../../src/index.ts'

/** Owner of a mark: a tenant, and within it a room or a user. */
export interface Mark {
  readonly tenant: string
  readonly room?: string
  readonly user?: string
}

export interface ListenerOptions {
  readonly url: string
  readonly secret: string
  readonly tenant: string
  readonly user: string
  readonly rooms: readonly string[]
  /** Ids of those who may hear a room, by `tenant:room`. */
  readonly membersOf: (room: string) => ReadonlySet<string>
}

interface Position {
  readonly offset: number
  readonly epoch: string
}
type Frame = Readonly<Record<string, unknown>> & { readonly id?: number }
type Publication = { readonly offset?: number; readonly data: { readonly type: string } }
type Subscribed = {
  readonly epoch: string
  readonly offset?: number
  readonly publications?: readonly Publication[]
}

const marks = /mark-([^"\s]*?)-kram/g

/** A user on a socket of their own, whose every received byte is searched for marks of others. */
export class Listener {
  readonly tenant: string
  readonly id: string
  readonly foreign: string[] = []
  /** Events of a room that arrived after its revocation was acknowledged. */
  readonly late: string[] = []
  deliveries = 0
  recoveries = 0
  refusals = 0
  notices = 0
  bytes = 0
  marks = 0
  readonly #options: ListenerOptions
  /** Rooms that this user was ever allowed to hear: their marks may still be under way, until acknowledged. */
  readonly #rooms: Set<string>
  readonly #positions = new Map<string, Position>()
  readonly #asked = new Map<number, (frame: Frame) => void>()
  readonly #operations: string[] = []
  #socket: WebSocket | undefined
  #reconnecting: Promise<void> | undefined
  #next = 1

  constructor(options: ListenerOptions) {
    const { tenant, user, rooms, membersOf } = options
    this.#options = options
    this.tenant = tenant
    this.id = `${tenant}|${user}`
    this.#rooms = new Set(rooms.filter((room) => membersOf(`${tenant}:${room}`).has(this.id)))
  }

  async open(): Promise<void> {
    const { url, secret, tenant, user, rooms } = this.#options
    const socket = new WebSocket(url)
    this.#socket = socket
    socket.on('message', (data: Buffer) => {
      if (socket === this.#socket) this.#receive(data.toString('utf8'))
    })
    socket.on('error', () => {})
    socket.on('close', (_code, reason) => this.#search(reason.toString()))
    await new Promise((resolve) => socket.once('open', resolve))
    const own = this.#positions.get(`user:${this.id}`)
    const subs = own === undefined ? {} : { [`user:${this.id}`]: { recover: true, ...own } }
    const connect = { token: await signToken(secret, user, 600, { tenant }), subs }
    await this.#ask({ connect }, (answer) => {
      const connected = answer['connect'] as { subs: Readonly<Record<string, Subscribed>> } | undefined
      for (const [channel, result] of Object.entries(connected?.subs ?? {})) this.#joined(channel, result)
    })
    await Promise.all(rooms.map((room) => this.#subscribe(room)))
  }

  reconnect(): Promise<void> {
    this.#reconnecting ??= this.#reconnect().finally(() => {
      this.#reconnecting = undefined
    })
    return this.#reconnecting
  }

  async #reconnect(): Promise<void> {
    this.#socket?.terminate()
    for (const answer of this.#asked.values()) answer({})
    this.#asked.clear()
    await new Promise((resolve) => setTimeout(resolve, 20))
    await this.open()
  }

  async call(method: string, id: string, input: object): Promise<void> {
    this.#operations.push(id)
    const answer = await this.#ask({ rpc: { method, data: { id, input } } })
    if (answer['error'] !== undefined) this.refusals += 1
  }

  /** Asks for what is another's. */
  async pry(other: Listener): Promise<void> {
    if (other.id === this.id) return
    const [id = newOperationId()] = other.#operations.slice(-1)
    const position = other.#positions.get(`user:${other.id}`) ?? { offset: 0, epoch: '' }
    const answers = await Promise.all([
      this.#ask({ subscribe: { channel: `user:${other.id}`, recover: true, ...position, offset: 0 } }),
      this.#ask({ rpc: { method: 'lockstep.outcomes', data: { ids: [id] } } }),
      this.#ask({ rpc: { method: 'note', data: { id, input: { room: 'r0', from: 0, fail: false } } } }),
      ...(other.tenant === this.tenant
        ? []
        : [
            this.#ask({
              subscribe: { channel: `tenant:${other.tenant}:room:r1`, recover: true, ...position },
            }),
          ]),
    ])
    this.refusals += answers.filter((answer) => answer['error'] !== undefined).length
  }

  /** The revocation of a room was acknowledged: from here on nothing of it may come, a resume included. */
  async revoked(room: string): Promise<void> {
    // The reply to a ping comes after everything that the server had sent before it.
    await this.#ask({ ping: {} })
    this.#rooms.delete(room)
    const answer = await this.#subscribe(room, 0)
    if (answer['error'] === undefined && answer['id'] !== undefined)
      this.late.push(`${this.id} resumed ${room}`)
  }

  async settle(): Promise<void> {
    await this.#reconnecting
    await this.#ask({ ping: {} })
  }

  close(): void {
    this.#socket?.terminate()
  }

  async #subscribe(room: string, offset?: number): Promise<Frame> {
    const channel = `tenant:${this.tenant}:room:${room}`
    const position = this.#positions.get(channel)
    const from =
      position === undefined
        ? {}
        : { recover: true, ...position, ...(offset === undefined ? {} : { offset }) }
    const answer = await this.#ask({ subscribe: { channel, ...from } }, ({ subscribe }) => {
      if (subscribe !== undefined) this.#joined(channel, subscribe as Subscribed)
    })
    if (answer['error'] !== undefined) this.refusals += 1
    return answer
  }

  #joined(channel: string, { epoch, offset = 0, publications = [] }: Subscribed): void {
    this.#positions.set(channel, { offset, epoch })
    for (const publication of publications) this.#publication(channel, publication)
    this.recoveries += publications.length
  }

  /** `read` takes the answer at once: what stands behind it in the same message builds on it. */
  #ask(command: object, read: (answer: Frame) => void = () => {}): Promise<Frame> {
    const id = (this.#next += 1)
    if (this.#socket?.readyState !== WebSocket.OPEN) return Promise.resolve({})
    this.#socket.send(JSON.stringify({ id, ...command }))
    return new Promise((resolve) => {
      this.#asked.set(id, (answer) => {
        read(answer)
        resolve(answer)
      })
    })
  }

  #receive(message: string): void {
    this.bytes += Buffer.byteLength(message)
    this.#search(message)
    for (const line of message.split('\n')) {
      const frame = JSON.parse(line) as Frame
      if (frame.id !== undefined) {
        this.#asked.get(frame.id)?.(frame)
        this.#asked.delete(frame.id)
      }
      const { channel, pub } = (frame['push'] ?? {}) as { channel?: string; pub?: Publication }
      if (channel !== undefined && pub !== undefined) this.#publication(channel, pub)
    }
  }

  #search(text: string): void {
    for (const [, owner = ''] of text.matchAll(marks)) {
      this.marks += 1
      const [tenant, room, ...user] = owner.split('-')
      const own = tenant === this.tenant && (user.join('-') === '' || user.join('-') === this.id)
      if (!own) this.foreign.push(`${this.id} received ${owner}`)
      else if (room !== undefined && room !== '' && !this.#rooms.has(room))
        this.late.push(`${this.id} received ${owner}`)
    }
  }

  #publication(channel: string, { offset, data }: Publication): void {
    this.deliveries += 1
    if (data.type === 'transaction_rolled_back') this.notices += 1
    const position = this.#positions.get(channel)
    if (offset === undefined || position === undefined) return
    if (position.offset > 0 && offset !== position.offset + 1)
      this.foreign.push(`${this.id} ${channel}: ${offset} after ${position.offset}`)
    this.#positions.set(channel, { ...position, offset })
  }
}

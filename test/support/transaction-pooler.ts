// A pooler in transaction mode, as PgBouncer is one: each transaction of a client gets another connection of the server.
// The pooler knows nothing of prepared statements, of LISTEN and of settings of a session, and undoes none of them.
import net from 'node:net'
import pg from 'pg'
import { MessageReader, type Message } from '../faults/postgres-messages.ts'

export interface TransactionPooler {
  /** Address of the same database, by way of the pooler. */
  through(url: string): string
  /** Number of times that a client was given another connection than for its transaction before. */
  readonly handovers: number
  close(): Promise<void>
}

/** Types of the messages Query and Sync, which the server answers by ReadyForQuery, as the manual names them. */
const asksForReady = new Set(['Q', 'S'])

class Backend {
  readonly stream: net.Socket
  client: Client | undefined

  private constructor(stream: net.Socket) {
    this.stream = stream
    const reader = new MessageReader('server')
    stream.on('data', (bytes: Buffer) => {
      for (const message of reader.read(bytes)) this.client?.answered(message)
    })
    stream.on('error', () => stream.destroy())
    stream.on('close', () => this.client?.socket.destroy())
  }

  static async open(url: string): Promise<Backend> {
    const client = new pg.Client({ connectionString: url })
    await client.connect()
    const { stream } = (client as unknown as { connection: { stream: net.Socket } }).connection
    stream.removeAllListeners()
    return new Backend(stream)
  }
}

/**
 * Connections of the pooler: with fewer, a client would meet the same one every other time, and hear its own
 * notifications there.
 */
const leastConnections = 6

class Backends {
  readonly #url: string
  readonly #all = new Set<Backend>()
  /** Idle connections; the one that has rested longest comes first. */
  readonly #idle: Backend[] = []

  constructor(url: string) {
    this.#url = url
  }

  async lend(client: Client, last: Backend | undefined): Promise<Backend> {
    const at = this.#all.size < leastConnections ? -1 : this.#idle.findIndex((one) => one !== last)
    const backend = at < 0 ? await this.#open() : this.#idle.splice(at, 1)[0]
    if (backend === undefined) throw new Error('no connection')
    backend.client = client
    return backend
  }

  giveBack(backend: Backend): void {
    backend.client = undefined
    if (!backend.stream.destroyed) this.#idle.push(backend)
  }

  close(): void {
    for (const { stream } of this.#all) stream.destroy()
  }

  async #open(): Promise<Backend> {
    const backend = await Backend.open(this.#url)
    this.#all.add(backend)
    return backend
  }
}

class Client {
  readonly socket: net.Socket
  readonly #poolOf: (database: string) => Backends
  readonly #handedOver: () => void
  #pool: Backends | undefined
  #backend: Backend | undefined
  #last: Backend | undefined
  /** Bytes of a flight that is not complete yet: it is sent as a whole. */
  #flight: Buffer[] = []
  #unanswered = 0
  #work: Promise<void> = Promise.resolve()

  constructor(socket: net.Socket, poolOf: (database: string) => Backends, handedOver: () => void) {
    this.socket = socket
    this.#poolOf = poolOf
    this.#handedOver = handedOver
    const reader = new MessageReader('client')
    socket.on('data', (bytes: Buffer) => {
      for (const message of reader.read(bytes)) this.#said(message)
    })
    socket.on('error', () => socket.destroy())
    socket.on('close', () => {
      // A client that leaves in the middle of a transaction takes its server connection with it.
      this.#backend?.stream.destroy()
    })
  }

  answered({ type, bytes, body }: Message): void {
    this.socket.write(bytes)
    if (type !== 'Z') return
    this.#unanswered -= 1
    const isIdle = body.toString('latin1') === 'I'
    if (this.#unanswered > 0 || !isIdle || this.#backend === undefined) return
    const backend = this.#backend
    this.#backend = undefined
    this.#pool?.giveBack(backend)
  }

  #said({ type, bytes, body }: Message): void {
    if (type === '') return this.#greet(body)
    if (type === 'X') return void this.socket.end()
    this.#flight.push(bytes)
    if (!asksForReady.has(type)) return
    const flight = Buffer.concat(this.#flight)
    this.#flight = []
    this.#work = this.#sendBehind(this.#work, flight)
  }

  async #sendBehind(before: Promise<void>, flight: Buffer): Promise<void> {
    await before
    try {
      await this.#send(flight)
    } catch {
      this.socket.destroy()
    }
  }

  async #send(flight: Buffer): Promise<void> {
    if (this.#backend === undefined) {
      const backend = await this.#pool?.lend(this, this.#last)
      if (backend !== this.#last && this.#last !== undefined) this.#handedOver()
      this.#backend = this.#last = backend
    }
    this.#unanswered += 1
    this.#backend?.stream.write(flight)
  }

  /** Lets every client in, and tells it a process id that no server process has. */
  #greet(body: Buffer): void {
    const fields = body.subarray(4).toString('utf8').split('\0')
    this.#pool = this.#poolOf(fields[fields.indexOf('database') + 1] ?? '')
    this.socket.write(
      Buffer.concat([
        frame('R', int32(0)),
        frame('S', Buffer.from('client_encoding\0UTF8\0')),
        frame('K', Buffer.concat([int32(1), int32(1)])),
        frame('Z', Buffer.from('I')),
      ]),
    )
  }
}

function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32BE(value)
  return bytes
}

function frame(type: string, body: Buffer): Buffer {
  return Buffer.concat([Buffer.from(type), int32(body.length + 4), body])
}

/**
 * Starts a pooler.
 * @param serverUrl address of any database of the server
 */
export async function startTransactionPooler(serverUrl: string): Promise<TransactionPooler> {
  let handovers = 0
  const pools = new Map<string, Backends>()
  const clients = new Set<Client>()
  const poolOf = (database: string): Backends => {
    const url = new URL(serverUrl)
    url.pathname = `/${database}`
    const pool = pools.get(database) ?? new Backends(url.href)
    pools.set(database, pool)
    return pool
  }
  const server = net.createServer((socket) => {
    const client = new Client(socket, poolOf, () => (handovers += 1))
    clients.add(client)
    socket.once('close', () => clients.delete(client))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as net.AddressInfo
  return {
    through(url) {
      const here = new URL(url)
      here.hostname = '127.0.0.1'
      here.port = String(port)
      return here.href
    },
    get handovers() {
      return handovers
    },
    async close() {
      for (const { socket } of clients) socket.destroy()
      for (const pool of pools.values()) pool.close()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

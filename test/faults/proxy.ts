// A TCP proxy that breaks connections, on any leg. It knows bytes; an interceptor may know what they mean.
import { createServer, connect, type AddressInfo, type Server, type Socket } from 'node:net'
import { once } from 'node:events'

export type Direction = 'up' | 'down'

/** Sees the bytes of one connection before they go on, and may keep, change or drop them. */
export interface Interceptor {
  /** Bytes from the client to the server. */
  up(bytes: Buffer): void
  /** Bytes from the server to the client. */
  down(bytes: Buffer): void
  /** Called when the client has gone, or was reset. True: the server's side is left as it is. */
  clientGone?(): boolean
}

export interface FaultProxyOptions {
  /** Port on 127.0.0.1 that the next connection goes to; undefined when no server listens. */
  readonly target: () => number | undefined
  readonly intercept?: (link: Link) => Interceptor
  /** Port of the proxy. Default: a free one. */
  readonly port?: number
}

/** Direction of a connection: passes bytes on in order, as late and as torn as wanted. */
class Pipe {
  readonly #from: Socket
  readonly #to: Socket
  #queue: Buffer[] = []
  #busy = false
  #ended = false
  stalled = false
  dropped = false
  sliced = false
  latencyMs = 0

  constructor(from: Socket, to: Socket) {
    this.#from = from
    this.#to = to
  }

  write(bytes: Buffer): void {
    if (this.dropped || this.#to.destroyed) return
    if (!this.stalled && !this.sliced && this.latencyMs === 0 && !this.#busy && this.#queue.length === 0) {
      if (!this.#to.write(bytes)) this.#pauseUntilDrained()
      return
    }
    this.#queue.push(bytes)
    void this.pump()
  }

  end(): void {
    this.#ended = true
    void this.pump()
  }

  async pump(): Promise<void> {
    if (this.#busy) return
    this.#busy = true
    while (this.#queue.length > 0 && !this.stalled && !this.#to.destroyed) {
      if (this.latencyMs > 0) await new Promise((resolve) => setTimeout(resolve, this.latencyMs))
      const bytes = this.#queue.shift()
      if (bytes === undefined) break
      const step = this.sliced ? 1 : bytes.length
      for (let at = 0; at < bytes.length && !this.#to.destroyed; at += step) {
        // Waits for each write before the next: bytes written together would leave in one segment.
        await new Promise<void>((resolve) => this.#to.write(bytes.subarray(at, at + step), () => resolve()))
      }
    }
    this.#busy = false
    if (this.#ended && this.#queue.length === 0 && !this.stalled) this.#to.end()
  }

  #pauseUntilDrained(): void {
    this.#from.pause()
    this.#to.once('drain', () => this.#from.resume())
  }
}

/** Connection through the proxy. */
export class Link {
  readonly client: Socket
  readonly server: Socket
  readonly #up: Pipe
  readonly #down: Pipe
  readonly closed: Promise<void>

  constructor(client: Socket, server: Socket) {
    this.client = client
    this.server = server
    this.#up = new Pipe(client, server)
    this.#down = new Pipe(server, client)
    for (const socket of [client, server]) {
      socket.setNoDelay(true)
      socket.on('error', () => {})
    }
    this.closed = new Promise((resolve) => {
      let open = 2
      for (const socket of [client, server]) {
        socket.once('close', () => {
          open -= 1
          if (open === 0) resolve()
        })
      }
    })
  }

  pass(direction: Direction, bytes: Buffer): void {
    this.#pipe(direction).write(bytes)
  }

  end(direction: Direction): void {
    this.#pipe(direction).end()
  }

  /** Resets the connection to a peer, or to both. */
  reset(side: 'client' | 'server' | 'both'): void {
    if (side !== 'server') this.client.resetAndDestroy()
    if (side !== 'client') this.server.resetAndDestroy()
  }

  /** Holds back the bytes of a direction until `heal`, and loses none. */
  stall(direction: Direction): void {
    this.#pipe(direction).stalled = true
  }

  /** Drops all bytes of both directions from now on, without a word to either end. */
  blackHole(): void {
    this.#up.dropped = true
    this.#down.dropped = true
  }

  /** Sends byte by byte, each in a segment of its own. */
  slice(): void {
    this.#up.sliced = true
    this.#down.sliced = true
  }

  delay(latencyMs: number): void {
    this.#up.latencyMs = latencyMs
    this.#down.latencyMs = latencyMs
  }

  /** Ends stalls, slicing and latency. Bytes that fell into a black hole are gone, so that link is reset. */
  heal(): void {
    if (this.#up.dropped) return this.reset('both')
    for (const pipe of [this.#up, this.#down]) {
      pipe.stalled = false
      pipe.sliced = false
      pipe.latencyMs = 0
      void pipe.pump()
    }
  }

  #pipe(direction: Direction): Pipe {
    return direction === 'up' ? this.#up : this.#down
  }
}

export interface FaultProxy {
  readonly port: number
  /** Connections that are open now. */
  readonly links: ReadonlySet<Link>
  /** Refuses new connections while true; open ones go on. */
  refusing: boolean
  close(): Promise<void>
}

export async function createFaultProxy(options: FaultProxyOptions): Promise<FaultProxy> {
  const links = new Set<Link>()
  const server: Server = createServer((client) => {
    const port = proxy.refusing ? undefined : options.target()
    if (port === undefined) {
      client.on('error', () => {})
      client.resetAndDestroy()
      return
    }
    const link = new Link(client, connect({ port, host: '127.0.0.1' }))
    links.add(link)
    void forget(links, link)
    join(link, options.intercept?.(link))
  })
  server.listen(options.port ?? 0, '127.0.0.1')
  await once(server, 'listening')
  const proxy: FaultProxy = {
    port: (server.address() as AddressInfo).port,
    links,
    refusing: false,
    async close() {
      const closed = once(server, 'close')
      server.close()
      for (const link of links) link.reset('both')
      await closed
    },
  }
  return proxy
}

async function forget(links: Set<Link>, link: Link): Promise<void> {
  await link.closed
  links.delete(link)
}

function join(link: Link, interceptor: Interceptor | undefined): void {
  const { client, server } = link
  client.on('data', (bytes) => (interceptor === undefined ? link.pass('up', bytes) : interceptor.up(bytes)))
  server.on('data', (bytes) =>
    interceptor === undefined ? link.pass('down', bytes) : interceptor.down(bytes),
  )
  client.on('end', () => link.end('up'))
  server.on('end', () => link.end('down'))
  client.on('close', () => {
    if (interceptor?.clientGone?.() !== true) server.destroy()
  })
  server.on('close', () => {
    // The server's last bytes may still be on their way; a broken connection carries nothing more.
    if (server.errored === null) link.end('down')
    else client.resetAndDestroy()
  })
}

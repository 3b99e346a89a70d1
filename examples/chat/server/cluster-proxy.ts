import { connect, createServer, type Server, type Socket } from 'node:net'

export interface Target {
  /** Undefined while nobody serves there. */
  readonly port: number | undefined
}

/**
 * A single address for several nodes: each connection goes to the next node in turn. The proxy handles bytes, and knows
 * no HTTP.
 */
export class ClusterProxy {
  readonly server: Server
  readonly #nodes: readonly Target[]
  readonly #open = new Set<Socket>()
  #turn = 0

  constructor(nodes: readonly Target[]) {
    this.#nodes = nodes
    this.server = createServer((client) => this.#forward(client))
  }

  close(): void {
    this.server.close()
    for (const client of this.#open) client.destroy()
  }

  #forward(client: Socket): void {
    const serving = this.#nodes.filter(({ port }) => port !== undefined)
    const node = serving[this.#turn++ % serving.length]
    client.on('error', () => client.destroy())
    if (node?.port === undefined) return void client.destroy()
    const upstream = connect(node.port, '127.0.0.1')
    this.#open.add(client)
    client.once('close', () => {
      this.#open.delete(client)
      upstream.destroy()
    })
    // A node that is gone takes its connections with it, as behind any balancer.
    upstream.on('error', () => client.destroy())
    upstream.once('close', () => client.destroySoon())
    client.setNoDelay(true)
    upstream.setNoDelay(true)
    client.pipe(upstream).pipe(client)
  }
}

// Clients of a test against a gateway that the test scripts, and the errors that they report.
import { WebSocket } from 'ws'
import { createClient, type Client, type ClientOptions } from '../../../src/client/index.ts'
import { FakeGateway, Queue, tokenOf } from './fake-gateway.ts'

export class ClientWorld {
  readonly gateway: FakeGateway
  readonly errors = new Queue<unknown>()
  readonly #clients: Client[] = []

  private constructor(gateway: FakeGateway) {
    this.gateway = gateway
  }

  static async open(): Promise<ClientWorld> {
    return new ClientWorld(await FakeGateway.start())
  }

  readonly connect = (options: Partial<ClientOptions> = {}): Client => {
    const client = createClient({
      url: this.gateway.url,
      getToken: () => Promise.resolve(tokenOf(this.gateway.user)),
      websocket: WebSocket,
      storage: null,
      minReconnectDelayMs: 1,
      maxReconnectDelayMs: 4,
      onError: (error) => this.errors.push(error),
      ...options,
    })
    this.#clients.push(client)
    return client
  }

  async close(): Promise<void> {
    for (const client of this.#clients.splice(0)) client.close()
    await this.gateway.close()
  }
}

// Several clients of one user in one storage, against one gateway: tabs of a browser.
import { vi } from 'vitest'
import { WebSocket } from 'ws'
import { createClient, type Client, type ClientOptions } from '../../../src/client/index.ts'
import { FakeGateway, MemoryStorage, tokenOf } from './fake-gateway.ts'

export const lost = '019a0000-0000-7000-8000-00000000000a'
export const crashed = '019a0000-0000-7000-8000-00000000000b'

export class Browser {
  readonly gateway: FakeGateway
  readonly storage = new MemoryStorage()
  readonly clients: Client[] = []

  private constructor(gateway: FakeGateway) {
    this.gateway = gateway
  }

  static async start(): Promise<Browser> {
    return new Browser(await FakeGateway.start())
  }

  async close(): Promise<void> {
    for (const client of this.clients) client.close()
    await this.gateway.close()
    vi.unstubAllGlobals()
  }

  tab(options: Partial<ClientOptions> = {}): Client {
    const client = createClient({
      url: this.gateway.url,
      getToken: () => Promise.resolve(tokenOf(this.gateway.user)),
      websocket: WebSocket,
      storage: this.storage,
      minReconnectDelayMs: 1,
      maxReconnectDelayMs: 4,
      ...options,
    })
    this.clients.push(client)
    return client
  }

  /** Resolves when all questions that the client asks on connecting have been asked. */
  async quiet(client: Client): Promise<void> {
    const { all } = this.gateway.calls
    const isQuiet = ({ method }: { method: string }): boolean => method === 'test.quiet'
    const before = all.filter(isQuiet).length
    const rpc = client.query('test.quiet').catch(() => undefined)
    const asked = await vi.waitUntil(() => all.filter(isQuiet)[before])
    asked.reply({ data: null })
    await rpc
  }

  /** Questions for outcomes that the gateway has received. */
  asked(): unknown[] {
    const questions = this.gateway.calls.all.filter(({ method }) => method === 'lockstep.outcomes')
    return questions.map(({ data }) => data)
  }

  /** Stores the entry that a page leaves behind when it dies in the middle of a call. */
  leave(user: string, id: string, more: object = {}): void {
    const entry = {
      id,
      name: 'send_message',
      input: { text: 'hi' },
      startedAt: Date.now(),
      owner: 'gone',
      seenAt: 0,
    }
    this.storage.setItem(`lockstep:${user}:${id}`, JSON.stringify({ ...entry, ...more }))
  }
}

/** The part of Web Locks that the client uses: exclusive, held until the callback's promise ends. */
export class FakeLocks {
  readonly held = new Map<string, Promise<void>>()
  async request(name: string, callback: () => Promise<void>): Promise<void> {
    await Promise.resolve()
    const holding = callback()
    this.held.set(name, holding)
    await holding
    this.held.delete(name)
  }
  query(): Promise<{ held: { name: string }[] }> {
    return Promise.resolve({ held: [...this.held.keys()].map((name) => ({ name })) })
  }
}

import { Centrifuge } from 'centrifuge'
import { WebSocket } from 'ws'
import { createClient, type Client } from '../../src/client/index.ts'
import { newOperationId, signToken } from '../../src/index.ts'
import { fence, type App } from './application.ts'
import { Arrivals, within } from './within.ts'

interface Heard {
  readonly channel: string
  readonly type: string
  readonly operationId: string
  readonly data: unknown
}

/** Rollback as the user's own channel reported it. */
interface Told {
  readonly operationId: string
  readonly userMessage: string
}

/** User with two tabs: one with Lockstep's client, and one with the official client, unmodified. */
export class Person {
  readonly id: string
  readonly client: Client<App>
  readonly tab: Centrifuge
  /** Events of the channels that were joined, as Lockstep's client brings them. */
  readonly heard = new Arrivals<Heard>()
  readonly told = new Arrivals<Told>()
  /** Text frames that came to either tab. */
  readonly frames: string[] = []

  constructor(id: string, options: { readonly url: string; readonly secret: string }) {
    this.id = id
    const { url, secret } = options
    const { frames } = this
    class TappedWebSocket extends WebSocket {
      constructor(address: string | URL, protocols?: string | string[]) {
        super(address, protocols)
        this.on('message', (data: Buffer) => frames.push(data.toString()))
      }
    }
    const getToken = (): Promise<string> => signToken(secret, id, 3_600)
    this.client = createClient<App>({ url, getToken, websocket: TappedWebSocket, storage: null, user: id })
    this.tab = new Centrifuge(url, { websocket: TappedWebSocket, getToken })
    this.tab.on('publication', ({ channel, data }) => {
      const { type, data: notice } = data as {
        type: string
        data: { transactionId: string; userMessage: string }
      }
      if (channel !== `user:${id}` || type !== 'transaction_rolled_back') return
      this.told.add({ operationId: notice.transactionId, userMessage: notice.userMessage })
    })
  }

  async open(): Promise<void> {
    this.tab.connect()
    await this.tab.ready()
  }

  async join(conversation: string): Promise<void> {
    const channel = this.client.channel(`conversation:${conversation}`)
    channel.on('*', (data, { channel: name, type, operationId }) => {
      this.heard.add({ channel: name, type, operationId, data })
    })
    await within(channel.ready(), `${this.id} to join ${conversation}`)
  }

  noticeOf(operationId: string): Told | undefined {
    return this.told.items.find((told) => told.operationId === operationId)
  }

  /** Calls an operation that fails and is reported in any mode: everything sent on the channel before has come then. */
  async settled(): Promise<void> {
    const id = newOperationId()
    await this.tab.rpc(fence, { id, input: {} })
    await this.told.until(
      (all) => all.some(({ operationId }) => operationId === id),
      `the notice of a fence of ${this.id}`,
    )
  }

  close(): void {
    this.client.close()
    this.tab.disconnect()
  }
}

// A listener on the unmodified `centrifuge` package: it notes each frame's content, and sends copies of operations by
// hand.
import { Centrifuge, type PublicationContext, type Subscription } from 'centrifuge'
import type { Ended } from '../../src/client/index.ts'
import type { OutcomeAnswer } from '../../src/protocol/index.ts'
import { noteReply, sentBy, type Plan } from './caller.ts'
import type { History } from './history.ts'
import { MarkWatch } from './mark-watch.ts'
import { channelOf, ownerOf } from './places.ts'

export interface SubscriberOptions {
  readonly name: string
  readonly user: string
  readonly rooms: readonly string[]
  /** Places that the subscriber asks for although it is not entitled to them. */
  readonly prying?: readonly string[]
  readonly url: string
  readonly token: string
  readonly history: History
  /** Watch over the received bytes. Default: one for the subscriber's rooms and user. */
  readonly watch?: MarkWatch
  /** Called after an event was noted. */
  readonly onEvent?: (event: { readonly id: string; readonly channel: string }) => void
}

interface Joined {
  readonly channel: string
  readonly wasRecovering: boolean
  readonly recovered: boolean
  readonly streamPosition?: { readonly offset: number; readonly epoch: string }
}

export class Subscriber {
  readonly name: string
  readonly #options: SubscriberOptions
  readonly #client: Centrifuge
  readonly #watch: MarkWatch
  readonly #positions = new Map<string, number>()
  readonly #subscriptions: Subscription[] = []

  constructor(options: SubscriberOptions) {
    this.name = options.name
    this.#options = options
    const { history, name, user, rooms, prying = [] } = options
    this.#watch = options.watch ?? new MarkWatch(history, name, [...rooms, ownerOf(user)])
    this.#client = new Centrifuge(options.url, {
      token: options.token,
      websocket: this.#watch.websocket,
      minReconnectDelay: 50,
      maxReconnectDelay: 1_000,
      timeout: 5_000,
      name: 'subscriber',
    })
    // Errors are what this lane makes; without a listener the package would throw them.
    this.#client.on('error', () => {})
    this.#client.on('subscribed', (context) => this.#joined(context as Joined))
    this.#client.on('publication', (context) => this.#received(context.channel, context))
    for (const channel of [...rooms, ...prying].map(channelOf)) {
      const subscription = this.#client.newSubscription(channel, {
        minResubscribeDelay: 50,
        maxResubscribeDelay: 1_000,
      })
      subscription.on('error', () => {})
      subscription.on('subscribed', (context) => this.#joined(context as Joined))
      subscription.on('publication', (context) => this.#received(channel, context))
      if (this.#subscriptions.length < rooms.length) this.#subscriptions.push(subscription)
      subscription.subscribe()
    }
    this.#client.connect()
  }

  /** Last offset by channel. */
  get positions(): ReadonlyMap<string, number> {
    return this.#positions
  }

  /** Resolves when all of its rooms have been joined once. */
  async ready(): Promise<void> {
    await this.#client.ready()
    await Promise.all(this.#subscriptions.map((subscription) => subscription.ready()))
  }

  /**
   * Sends an operation by hand, as a client does that retries, and says so, unless told otherwise. Resolves when it was
   * answered, or lost.
   */
  async copy(id: string, plan: Plan, { repeat = true }: { readonly repeat?: boolean } = {}): Promise<void> {
    const { history, name, user } = this.#options
    const send = { id, client: name, copy: true }
    history.add({ kind: 'invoke', ...send, user, ...sentBy(plan) })
    try {
      const { data } = await this.#client.rpc('work', { id, input: plan, ...(repeat ? { repeat } : {}) })
      noteReply(history, send, data as Ended)
    } catch (error) {
      history.add({ kind: 'info', ...send, why: JSON.stringify(error) })
    }
  }

  /** Asks for the outcome of an operation, and notes the answer as a reply to a copy. */
  async ask(id: string): Promise<void> {
    const { data } = await this.#client.rpc('lockstep.outcomes', { ids: [id] })
    const [answer] = (data as { readonly outcomes: readonly OutcomeAnswer[] }).outcomes
    // An expired answer tells nothing of the operation.
    if (answer !== undefined && answer.outcome !== 'pending' && answer.outcome !== 'expired')
      noteReply(this.#options.history, { id, client: this.name, copy: true }, answer)
  }

  /** Asks for the outcome of another user's operation, about which the answer must say nothing. */
  async pry(id: string): Promise<void> {
    await this.#client.rpc('lockstep.outcomes', { ids: [id] }).catch(() => undefined)
  }

  /** Keeps the subscriber disconnected while `work` runs; then it comes back for what it missed. */
  async away(work: () => Promise<void>): Promise<void> {
    this.#client.disconnect()
    await work()
    this.#client.connect()
    await this.ready()
  }

  close(): void {
    this.#client.disconnect()
    this.#watch.close()
  }

  #joined({ channel, wasRecovering, recovered, streamPosition }: Joined): void {
    const { offset = 0, epoch = '' } = streamPosition ?? {}
    const kind = wasRecovering ? (recovered ? 'resume' : 'reset') : 'join'
    this.#options.history.add({ kind, subscriber: this.name, channel, offset, epoch })
    if (kind !== 'resume') this.#positions.set(channel, offset)
  }

  #received(channel: string, { data, offset }: PublicationContext): void {
    const {
      type,
      operationId: id,
      data: payload,
    } = data as { type: string; operationId: string; data: unknown }
    if (offset === undefined) {
      this.#options.history.add({ kind: 'unplaced', subscriber: this.name, channel, type, id })
      return
    }
    const event = { channel, offset, type, id, data: JSON.stringify(payload) }
    this.#options.history.add({ kind: 'deliver', subscriber: this.name, ...event })
    this.#positions.set(channel, offset)
    this.#options.onEvent?.({ id, channel })
  }
}

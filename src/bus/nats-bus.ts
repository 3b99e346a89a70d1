import {
  assertOptions,
  assertValue,
  detach,
  messageOf,
  withMethods,
  type Expectation,
} from '../core/index.ts'
import type { Bus } from './bus.ts'
import { busShape, ShardedBus, type BusOptions } from './sharded-bus.ts'
import type { Transport, TransportPort } from './transport.ts'

/** The part that is used of a connection of `nats` (nats.js 2) or `@nats-io/transport-node` (nats.js 3). */
export interface NatsConnectionLike {
  readonly info?: { readonly max_payload: number } | undefined
  publish(subject: string, payload: Uint8Array): void
  subscribe(
    subject: string,
    options: { readonly callback: (error: unknown, message: { readonly data: Uint8Array }) => void },
  ): { unsubscribe(): void }
  /** Resolves when the server has seen all that was sent before. */
  flush(): Promise<void>
  isClosed(): boolean
  status(): NatsStatuses
}

/** Changes of the connection. `stop` ends the iteration. */
export type NatsStatuses = AsyncIterable<{ readonly type: string }> & { stop?(): void }

/**
 * A bus over NATS core publish and subscribe, on the application's own connection. Let it reconnect for ever
 * (`maxReconnectAttempts: -1`). It stays open when the bus is closed.
 * @throws LS_CONFIG_INVALID
 */
export function natsBus(connection: NatsConnectionLike, options: BusOptions = {}): Bus {
  assertValue('natsBus', connection, aConnection, 'connection')
  assertOptions('natsBus', options, busShape, 'natsBus(connection, { selfTestMs })')
  return new ShardedBus(new NatsTransport(connection), options)
}

const aConnection: Expectation = {
  ...withMethods('publish', 'subscribe', 'flush', 'isClosed', 'status'),
  isRequired: true,
  isSecret: true,
}

const encoder = new TextEncoder()
const decoder = new TextDecoder()

class NatsTransport implements Transport {
  readonly kind = 'nats'
  readonly deafnessHint = ''
  readonly #connection: NatsConnectionLike
  readonly #subscriptions = new Map<string, { unsubscribe(): void }>()
  #port: TransportPort | undefined
  #statuses: NatsStatuses | undefined
  #isConnected = true
  #isClosed = false

  constructor(connection: NatsConnectionLike) {
    this.#connection = connection
  }

  get maxMessageBytes(): number {
    return Math.min(512 * 1024, this.#connection.info?.max_payload ?? 512 * 1024)
  }

  subjectOf(scope: string, part: string): string {
    return `lockstep.${scope}.${part}`
  }

  async open(port: TransportPort): Promise<void> {
    this.#port = port
    this.#statuses = this.#connection.status()
    detach(this.#watch(this.#statuses, port), port.logger, 'the watch over the NATS connection')
    if (this.#connection.isClosed()) port.down('the NATS connection is closed')
    else port.up()
  }

  async send(messages: Parameters<Transport['send']>[0]): Promise<void> {
    // Throw while disconnected: the client would keep the messages until it is connected again.
    if (!this.#isConnected) throw new Error('the NATS client is not connected')
    for (const { subject, text } of messages) this.#connection.publish(subject, encoder.encode(text))
    await this.#connection.flush()
  }

  async subscribe(subject: string): Promise<void> {
    if (!this.#subscriptions.has(subject)) {
      const subscription = this.#connection.subscribe(subject, {
        callback: (error, { data }) => {
          if (error === null || error === undefined) this.#port?.hear(decoder.decode(data))
        },
      })
      this.#subscriptions.set(subject, subscription)
    }
    // The client keeps the subscription while the broker is away, and sends it when the broker is back.
    if (this.#isConnected) await this.#connection.flush()
  }

  async unsubscribe(subject: string): Promise<void> {
    this.#subscriptions.get(subject)?.unsubscribe()
    this.#subscriptions.delete(subject)
  }

  /** The client sees to its connection itself. */
  reconnect(): void {}

  async close(): Promise<void> {
    this.#isClosed = true
    this.#statuses?.stop?.()
    if (this.#connection.isClosed()) return
    for (const subscription of this.#subscriptions.values()) subscription.unsubscribe()
  }

  async #watch(statuses: NatsStatuses, port: TransportPort): Promise<void> {
    try {
      for await (const { type } of statuses) {
        if (this.#isClosed) return
        if (type === 'disconnect') {
          this.#isConnected = false
          port.down('the NATS client is not connected')
        } else if (type === 'reconnect') {
          this.#isConnected = true
          port.up()
        }
      }
    } catch (error) {
      port.logger.warn({ error: messageOf(error) }, 'the state of the NATS connection is not known')
    }
    if (this.#isClosed) return
    this.#isConnected = false
    port.down('the NATS connection is closed')
  }
}

import {
  assertOptions,
  disregard,
  hasMethods,
  LockstepError,
  messageOf,
  type Expectation,
  type Shape,
} from '../core/index.ts'
import type { Bus } from './bus.ts'
import { busShape, ShardedBus, type BusOptions } from './sharded-bus.ts'
import type { Transport, TransportPort } from './transport.ts'

/** The part that is used of a client of `redis` (node-redis 5 or later). */
export interface NodeRedisClient {
  readonly isReady: boolean
  publish(channel: string, message: string): Promise<unknown>
  subscribe(channel: string, listener: (message: string, channel: string) => void): Promise<unknown>
  unsubscribe(channel: string): Promise<unknown>
  on(event: string, listener: (...args: unknown[]) => void): unknown
  off(event: string, listener: (...args: unknown[]) => void): unknown
}

/** The part that is used of a client of `ioredis`. */
export interface IoRedisClient {
  readonly status: string
  publish(channel: string, message: string): Promise<unknown>
  subscribe(channel: string): Promise<unknown>
  unsubscribe(channel: string): Promise<unknown>
  on(event: string, listener: (...args: unknown[]) => void): unknown
  off(event: string, listener: (...args: unknown[]) => void): unknown
}

export interface RedisBusOptions extends BusOptions {
  /** Sends. May be the client that the application uses for other things. */
  readonly publisher: NodeRedisClient | IoRedisClient
  /** Hears. A connection of its own: `publisher.duplicate()`. */
  readonly subscriber: NodeRedisClient | IoRedisClient
}

/**
 * A bus over Redis pub/sub, on the application's own clients of `redis` or `ioredis`; connect them yourself. They
 * stay open when the bus is closed.
 * @throws LS_CONFIG_INVALID
 */
export function redisBus(options: RedisBusOptions): Bus {
  const hint = 'redisBus({ publisher, subscriber })'
  if (isRedisClient(options)) {
    throw new LockstepError('LS_CONFIG_INVALID', {
      message: `redisBus takes two clients, and got one. Write ${hint}, where subscriber is client.duplicate(), connected.`,
    })
  }
  assertOptions('redisBus', options, optionShape, hint)
  const { publisher, subscriber, ...rest } = options
  if (publisher === subscriber) {
    throw new LockstepError('LS_CONFIG_INVALID', {
      message:
        'redisBus got one client twice, and a client that subscribes can send nothing. Write subscriber: client.duplicate(), connected.',
    })
  }
  return new ShardedBus(new RedisTransport(publisher, subscriber), rest)
}

function isRedisClient(value: unknown): boolean {
  return hasMethods(value, ['publish', 'subscribe', 'unsubscribe', 'on', 'off'])
}

const aClient: Expectation = {
  expected: 'a client of redis or ioredis',
  fits: isRedisClient,
  isRequired: true,
  // An address holds a password.
  isSecret: true,
}

const optionShape: Shape<RedisBusOptions> = {
  ...busShape,
  publisher: aClient,
  subscriber: { ...aClient, advice: () => 'Write subscriber: client.duplicate(), connected.' },
}

type RedisClient = NodeRedisClient | IoRedisClient
const changes = ['ready', 'error', 'close', 'reconnecting', 'end'] as const

class RedisTransport implements Transport {
  readonly kind = 'redis'
  readonly maxMessageBytes = 512 * 1024
  readonly deafnessHint = ''
  readonly #publisher: RedisClient
  readonly #subscriber: RedisClient
  readonly #subjects = new Set<string>()
  #port: TransportPort | undefined
  #isUp: boolean | undefined
  #lastError: string | undefined
  readonly #unhook: (() => void)[] = []

  constructor(publisher: RedisClient, subscriber: RedisClient) {
    this.#publisher = publisher
    this.#subscriber = subscriber
  }

  subjectOf(scope: string, part: string): string {
    return `lockstep:${scope}:${part}`
  }

  async open(port: TransportPort): Promise<void> {
    this.#port = port
    for (const client of [this.#publisher, this.#subscriber]) {
      for (const event of changes) this.#hook(client, event, (error) => this.#look(event, error))
    }
    if (!('isReady' in this.#subscriber)) {
      this.#hook(this.#subscriber, 'message', (channel, message) => {
        if (this.#subjects.has(String(channel))) port.hear(String(message))
      })
    }
    this.#look('start', undefined)
  }

  async send(messages: Parameters<Transport['send']>[0]): Promise<void> {
    // Throw while disconnected: a client would keep the messages until it is connected again, or for ever.
    if (!isReady(this.#publisher)) throw new Error('the Redis client is not connected')
    await Promise.all(messages.map(({ subject, text }) => this.#publisher.publish(subject, text)))
  }

  async subscribe(subject: string): Promise<void> {
    this.#subjects.add(subject)
    const subscriber = this.#subscriber
    // Wait for the client to be ready, which subscribes again: until then it would keep the request, or give it up.
    if (!isReady(subscriber)) return
    if ('isReady' in subscriber) await subscriber.subscribe(subject, this.#heard)
    else await subscriber.subscribe(subject)
  }

  async unsubscribe(subject: string): Promise<void> {
    this.#subjects.delete(subject)
    await this.#subscriber.unsubscribe(subject)
  }

  /** The clients see to their connections themselves. */
  reconnect(): void {}

  async close(): Promise<void> {
    for (const unhook of this.#unhook.splice(0)) unhook()
    if (isReady(this.#subscriber)) return this.#unsubscribeAll()
    // The client takes them up again when it is back.
    const onReady = (): void => {
      this.#subscriber.off('ready', onReady)
      // The connection is the application's, and may be gone again.
      disregard(this.#unsubscribeAll())
    }
    this.#subscriber.on('ready', onReady)
  }

  async #unsubscribeAll(): Promise<void> {
    await Promise.all([...this.#subjects].map((subject) => this.#subscriber.unsubscribe(subject)))
  }

  // Pass the same function for all subjects: node-redis takes a second subscription by it for the first.
  readonly #heard = (message: string): void => this.#port?.hear(message)

  #hook(client: RedisClient, event: string, listener: (...args: unknown[]) => void): void {
    client.on(event, listener)
    this.#unhook.push(() => void client.off(event, listener))
  }

  #look(event: string, error: unknown): void {
    if (event === 'error') this.#lastError = messageOf(error)
    const isUp = isReady(this.#publisher) && isReady(this.#subscriber)
    // A new connection is a new start, also where its end was not noticed.
    if (isUp && (event === 'ready' || this.#isUp !== true)) {
      this.#isUp = true
      this.#lastError = undefined
      disregard(this.#subscribeAll())
    } else if (!isUp && this.#isUp !== false) {
      this.#isUp = false
      this.#port?.down(this.#lastError ?? 'the Redis client is not connected')
    }
  }

  /** The clients do so themselves; this only knows when it is done. */
  async #subscribeAll(): Promise<void> {
    try {
      await Promise.all([...this.#subjects].map((subject) => this.subscribe(subject)))
      this.#port?.up()
    } catch (error) {
      // The connection is gone again: the next event says so.
      this.#port?.logger.warn({ error: messageOf(error) }, 'Redis did not take the subscriptions')
    }
  }
}

function isReady(client: RedisClient): boolean {
  return 'isReady' in client ? client.isReady : client.status === 'ready'
}

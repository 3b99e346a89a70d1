import { assertValue, aText } from '../core/index.ts'
import type { Bus } from './bus.ts'
import { ShardedBus } from './sharded-bus.ts'
import type { Transport, TransportPort } from './transport.ts'

/** Transports of each bus, by the name of the bus. */
const members = new Map<string, Set<MemoryTransport>>()

/**
 * A bus between nodes of one process, for tests. Those with the same name hear each other.
 * @throws LS_CONFIG_INVALID
 */
export function memoryBus(name = 'default'): Bus {
  assertValue('memoryBus', name, aText, 'name')
  return new ShardedBus(new MemoryTransport(name))
}

class MemoryTransport implements Transport {
  readonly kind = 'memory'
  readonly maxMessageBytes = Number.POSITIVE_INFINITY
  readonly deafnessHint = ''
  readonly #name: string
  readonly #subjects = new Set<string>()
  #port: TransportPort | undefined

  constructor(name: string) {
    this.#name = name
  }

  subjectOf(scope: string, part: string): string {
    return `${scope}.${part}`
  }

  async open(port: TransportPort): Promise<void> {
    this.#port = port
    const others = members.get(this.#name) ?? new Set()
    members.set(this.#name, others.add(this))
    port.up()
  }

  async send(messages: Parameters<Transport['send']>[0]): Promise<void> {
    for (const { subject, text } of messages) {
      for (const member of members.get(this.#name) ?? []) {
        if (member.#subjects.has(subject)) setImmediate(() => member.#port?.hear(text))
      }
    }
  }

  async subscribe(subject: string): Promise<void> {
    this.#subjects.add(subject)
  }

  async unsubscribe(subject: string): Promise<void> {
    this.#subjects.delete(subject)
  }

  reconnect(): void {}

  async close(): Promise<void> {
    const others = members.get(this.#name)
    others?.delete(this)
    if (others?.size === 0) members.delete(this.#name)
    this.#port = undefined
  }
}

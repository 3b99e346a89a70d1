// Bugs that the program of a node plants beside the product: it shows events by a way of its own, or emits some again.
import type { Bus, BusHealth, BusPort } from '../../src/index.ts'
import type { Queryable } from '../../src/core/index.ts'

export type NodeBug = 'publish before COMMIT' | 'publish on rollback' | 'events of a failed attempt kept'

/** An event that an operation has emitted. */
export interface Emitted {
  readonly operation: string
  readonly place: string
  readonly channel: string
  readonly type: string
  readonly data: unknown
}

/** Does with the events of operations what its bug says. */
export class BuggyNode {
  readonly #bug: NodeBug
  readonly #own: Queryable
  readonly #bus = new EarlyBus()
  /** Events of the attempts so far, by operation. */
  readonly #emitted = new Map<string, readonly Emitted[]>()

  constructor(bug: NodeBug, own: Queryable) {
    this.#bug = bug
    this.#own = own
  }

  /** Bus of the node, which shows what the bug publishes. */
  get bus(): Bus {
    return this.#bus
  }

  emitted(event: Emitted): void {
    this.#emitted.set(event.operation, [...(this.#emitted.get(event.operation) ?? []), event])
  }

  /** Runs one attempt at an operation. `emitAgain` emits an event of an earlier attempt in the transaction of this one. */
  async attempt<T>(
    operation: string,
    work: () => Promise<T>,
    emitAgain: (event: Emitted) => void,
  ): Promise<T> {
    const before = this.#emitted.get(operation) ?? []
    if (this.#bug === 'events of a failed attempt kept') for (const event of before) emitAgain(event)
    try {
      const result = await work()
      if (this.#bug === 'publish before COMMIT') await this.#publish(operation)
      return result
    } catch (error) {
      if (this.#bug === 'publish on rollback') await this.#publish(operation)
      throw error
    }
  }

  /** Shows events with the offsets that they would get now. */
  async #publish(operation: string): Promise<void> {
    const heads = new Map<string, number>()
    for (const { channel, type, data } of this.#emitted.get(operation) ?? []) {
      const offset = (heads.get(channel) ?? (await this.#headOf(channel))) + 1
      heads.set(channel, offset)
      const shown = { channel, type, data: JSON.stringify(data), offset, operationId: operation }
      this.#bus.port?.events([{ ...shown, at: new Date() }])
    }
  }

  async #headOf(channel: string): Promise<number> {
    const text = 'select head from lockstep.channels where channel = $1'
    const { rows } = await this.#own.query<{ readonly head: unknown }>({ text, values: [channel] })
    return Number(rows[0]?.head ?? 0)
  }
}

/** Bus of one node alone: nothing comes over it but what the bug publishes. */
class EarlyBus implements Bus {
  port: BusPort | undefined
  readonly health: BusHealth = { kind: 'early', state: 'up' }

  start(port: BusPort): Promise<void> {
    this.port = port
    return Promise.resolve()
  }

  publish(): void {}
  publishTransient(): void {}
  serve(): void {}
  unserve(): void {}
  follow(): void {}

  close(): Promise<void> {
    return Promise.resolve()
  }
}

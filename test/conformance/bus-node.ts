// A node for the conformance suite of buses: a hub on a bus, without sockets.
import { NodeBus, type Bus, type NodeBusOptions } from '../../src/bus/index.ts'
import { silentProbe, systemClock } from '../../src/core/index.ts'
import { Deliveries, EventHub, type FeedEvent, type TransientEvent } from '../../src/feeds/index.ts'
import { EventLog, type StoredEvent } from '../../src/log/index.ts'
import type { fromPool } from '../../src/postgres/index.ts'
import { Inbox } from '../support/sockets.ts'
import { createTestLogger } from '../support/world.ts'
import { publicationOf } from '../../src/gateway/wire/publications.ts'

const never = 3_600_000

export interface NodeOptions {
  readonly scope?: string
  readonly headCheckMs?: number
  readonly wrap?: (bus: Bus) => Bus
}

/** The hub of one node, and what reaches it. */
export class Node {
  readonly bus: NodeBus
  readonly deliveries: Deliveries
  /** Events given to the hub, by this node or by the bus. */
  readonly heard: StoredEvent[] = []
  /** Reads of events. */
  readonly reads: string[] = []
  readonly #hub: EventHub
  readonly #compared = new Inbox<true>()

  constructor(bus: Bus, database: ReturnType<typeof fromPool>, { headCheckMs = never }: NodeOptions) {
    const logger = createTestLogger()
    const own: typeof database.own = {
      query: (statement) => {
        if (statement.text.includes('.events')) this.reads.push(statement.text)
        return database.own.query(statement)
      },
    }
    const hub = new EventHub({
      log: new EventLog(own, '"lockstep"'),
      clock: systemClock,
      logger,
      headCheckMs,
    })
    hub.start()
    this.#hub = hub
    const heard: NodeBusOptions['hub'] = {
      deliver: (events) => {
        this.heard.push(...events)
        hub.deliver(events)
      },
      receiveHeads: (heads) => hub.receiveHeads(heads),
      deliverTransient: (event) => hub.deliverTransient(event),
      checkHeads: async () => {
        await hub.checkHeads()
        this.#compared.push(true)
      },
      watchInterest: (watcher) => hub.watchInterest(watcher),
    }
    this.bus = new NodeBus({ bus, clock: systemClock, logger, probe: silentProbe, hub: heard })
    this.deliveries = new Deliveries({ hub: heard, publisher: bus })
  }

  /** Resolves when the bus hears the channel: it has heads compared then. */
  async join(channel: string): Promise<Inbox<FeedEvent>> {
    const inbox = new Inbox<FeedEvent>()
    const before = this.#compared.items.length
    const joined = await this.subscribe(channel, (events) => events.forEach(inbox.push))
    joined.start()
    await this.#compared.until((comparisons) => comparisons.length > before)
    return inbox
  }

  subscribe(
    channel: string,
    deliver: (events: readonly FeedEvent[]) => void,
    deliverTransient: (push: TransientEvent) => void = () => {},
  ) {
    const reset = (): void => {
      throw new Error('told to start over')
    }
    return this.#hub.join(channel, {}, { deliver, deliverTransient, reset })
  }

  /** Joins like `join`, for events without an offset. */
  async joinTransient(channel: string): Promise<Inbox<TransientEvent>> {
    const inbox = new Inbox<TransientEvent>()
    const before = this.#compared.items.length
    const joined = await this.subscribe(channel, () => {}, inbox.push)
    joined.start()
    await this.#compared.until((comparisons) => comparisons.length > before)
    return inbox
  }

  async close(): Promise<void> {
    this.#hub.close()
    await this.bus.close()
  }
}

/** Notes what it should not have been given. */
export class StrictReader {
  position = 0
  readonly wrong: string[] = []
  readonly #channel: string
  readonly #node: Node

  constructor(channel: string, node: Node) {
    this.#channel = channel
    this.#node = node
  }

  async join(): Promise<void> {
    const marker = JSON.stringify({ of: this.#channel })
    const joined = await this.#node.subscribe(this.#channel, (events) => {
      for (const event of events) {
        const { publication } = publicationOf(event)
        if (event.offset !== this.position + 1 || !publication.includes(marker)) this.wrong.push(publication)
        this.position = event.offset
      }
    })
    joined.start()
  }
}

/** Loses a third of what it is given, repeats a third, and gives on in the wrong order. */
export function unreliable(bus: Bus): Bus {
  let count = 0
  let kept: readonly StoredEvent[] = []
  return {
    start: (port) => bus.start(port),
    serve: (channel) => bus.serve(channel),
    unserve: (channel) => bus.unserve(channel),
    follow: (scope) => bus.follow(scope),
    close: () => bus.close(),
    publishTransient: (event) => bus.publishTransient(event),
    get health() {
      return bus.health
    },
    publish(events) {
      for (const event of events) {
        const turn = count++ % 3
        if (turn === 0) continue
        if (turn === 1) bus.publish([event, event])
        // The one before comes after this one.
        bus.publish([event, ...kept])
        kept = [event]
      }
    },
  }
}

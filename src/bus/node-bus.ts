import { mutationPoint } from '../protocol/mutation-point.ts'
import { detach, messageOf, waitAtMost, type Clock, type Logger, type Probe } from '../core/index.ts'
import type { EventHub } from '../feeds/index.ts'
import type { StoredEvent } from '../log/index.ts'
import type { Bus, BusHealth } from './bus.ts'

export interface NodeBusOptions {
  /** Absent: the node hears others only by the comparison of heads. */
  readonly bus: Bus | undefined
  readonly hub: Pick<
    EventHub,
    'deliver' | 'receiveHeads' | 'deliverTransient' | 'checkHeads' | 'watchInterest'
  >
  readonly clock: Clock
  readonly logger: Logger
  readonly probe: Probe
}

/** How long a node waits for its bus when it starts, in milliseconds. */
const longestStartMs = 15_000

/** Ties the hub of a node to what its bus brings from other nodes. */
export class NodeBus {
  readonly #bus: Bus | undefined
  readonly #hub: Pick<
    EventHub,
    'deliver' | 'receiveHeads' | 'deliverTransient' | 'checkHeads' | 'watchInterest'
  >
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #probe: Probe
  #isStarted = false
  #comparing = false
  #compareAgain = false

  constructor(options: NodeBusOptions) {
    this.#bus = options.bus
    this.#hub = options.hub
    this.#clock = options.clock
    this.#logger = options.logger
    this.#probe = options.probe
  }

  get health(): BusHealth {
    return this.#bus?.health ?? { kind: 'none', state: 'off' }
  }

  /** Resolves when the bus is up, or is known not to be: a node serves without it, only more slowly. */
  async start(scope: string): Promise<void> {
    // A node that could not start tries again, and its bus goes on trying by itself.
    const bus = this.#bus
    if (bus === undefined || this.#isStarted) return
    this.#isStarted = true
    const started = bus.start({
      scope,
      clock: this.#clock,
      logger: this.#logger,
      events: (events) => {
        this.#hub.deliver(events)
        this.#report(events)
      },
      heads: (heads) => this.#hub.receiveHeads(heads),
      transients: (events) => events.forEach((event) => this.#hub.deliverTransient(event)),
      missed: () => {
        if (mutationPoint('outage of the bus forgotten')) return
        detach(this.#compare(), this.#logger, 'the comparison of heads')
      },
    })
    this.#hub.watchInterest({
      onServe: (channel) => bus.serve(channel),
      onUnserve: (channel) => bus.unserve(channel),
    })
    // The buses of this package know by themselves when to stop waiting; one that an application has made may not.
    await waitAtMost(this.#clock, longestStartMs, started)
  }

  /** Moves to another history, which has taken the place of the one before. */
  follow(scope: string): void {
    this.#bus?.follow(scope)
  }

  async close(): Promise<void> {
    await this.#bus?.close()
  }

  #report(events: readonly StoredEvent[]): void {
    if (!this.#probe.isOn) return
    const at = this.#clock.monotonic()
    for (const { operationId, channel, offset, at: flushed } of events) {
      this.#probe.reached({ layer: 'bus', operationId, at, channel, offset, flushedAt: flushed.getTime() })
    }
  }

  /** Compares once at a time; a call during a comparison gets another one. */
  async #compare(): Promise<void> {
    this.#compareAgain = true
    if (this.#comparing) return
    this.#comparing = true
    try {
      while (this.#compareAgain) {
        this.#compareAgain = false
        await this.#hub.checkHeads()
      }
    } catch (error) {
      // The regular comparison follows.
      this.#logger.warn({ error: messageOf(error) }, 'the heads of the served channels were not read')
    } finally {
      this.#comparing = false
    }
  }
}

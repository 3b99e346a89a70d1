import { detach, messageOf, waitAtMost, type Clock, type Logger, type Probe } from '../core/index.ts'
import type { EventHub, StoredEvent, TransientEvent } from '../events/index.ts'
import type { Bus, BusHealth } from './bus.ts'

export interface NodeBusOptions {
  /** Absent: the node hears others only by the comparison of heads. */
  readonly bus: Bus | undefined
  readonly hub: Pick<
    EventHub,
    'announce' | 'announceHeads' | 'announceTransient' | 'checkHeads' | 'watchInterest'
  >
  /** Of the history that this node serves. Default: there is only one. */
  readonly epoch?: () => string
  readonly clock: Clock
  readonly logger: Logger
  readonly probe: Probe
}

/** How long a node waits for its bus when it starts, in milliseconds. */
const longestStartMs = 15_000

/** Ties the hub of a node to its bus. */
export class NodeBus {
  readonly #options: NodeBusOptions
  #isStarted = false
  #comparing = false
  #compareAgain = false

  constructor(options: NodeBusOptions) {
    this.#options = options
  }

  get health(): BusHealth {
    return this.#options.bus?.health ?? { kind: 'none', state: 'off' }
  }

  /**
   * Takes what this node committed to everybody: here first, then to the other nodes. What was committed in a history
   * that has been replaced meanwhile is nobody's any more.
   * @param epoch of the history that they were committed in, where it is known
   */
  readonly announce = (events: readonly StoredEvent[], epoch?: string): void => {
    if (epoch !== undefined && epoch !== this.#options.epoch?.()) return
    try {
      this.#options.hub.announce(events)
    } finally {
      this.#options.bus?.publish(events)
    }
  }

  /** Shows what is in no log to those who listen now, here and elsewhere. */
  readonly announceTransient = (event: TransientEvent): void => {
    this.#options.hub.announceTransient(event)
    this.#options.bus?.publishTransient(event)
  }

  /** Resolves when the bus is up, or is known not to be: a node serves without it, only more slowly. */
  async start(scope: string): Promise<void> {
    const { bus, hub, clock, logger } = this.#options
    // A node that could not start tries again, and its bus goes on trying by itself.
    if (bus === undefined || this.#isStarted) return
    this.#isStarted = true
    const started = bus.start({
      scope,
      clock,
      logger,
      events: (events) => {
        hub.announce(events)
        this.#report(events)
      },
      heads: (heads) => hub.announceHeads(heads),
      transients: (events) => events.forEach((event) => hub.announceTransient(event)),
      missed: () => detach(this.#compare(), logger, 'the comparison of heads'),
    })
    hub.watchInterest({
      onServe: (channel) => bus.serve(channel),
      onUnserve: (channel) => bus.unserve(channel),
    })
    // The buses of this package know by themselves when to stop waiting; one that an application has made may not.
    await waitAtMost(clock, longestStartMs, started)
  }

  /** Another history has taken the place of the one before. */
  follow(scope: string): void {
    this.#options.bus?.follow(scope)
  }

  async close(): Promise<void> {
    await this.#options.bus?.close()
  }

  #report(events: readonly StoredEvent[]): void {
    const { probe, clock } = this.#options
    if (!probe.isOn) return
    const at = clock.monotonic()
    for (const { operationId, channel, offset, at: flushed } of events) {
      probe.reached({ layer: 'bus', operationId, at, channel, offset, flushedAt: flushed.getTime() })
    }
  }

  /** One comparison at a time; whoever asks during one gets another. */
  async #compare(): Promise<void> {
    this.#compareAgain = true
    if (this.#comparing) return
    this.#comparing = true
    try {
      while (this.#compareAgain) {
        this.#compareAgain = false
        await this.#options.hub.checkHeads()
      }
    } catch (error) {
      // The regular comparison follows.
      this.#options.logger.warn({ error: messageOf(error) }, 'the heads of the served channels were not read')
    } finally {
      this.#comparing = false
    }
  }
}

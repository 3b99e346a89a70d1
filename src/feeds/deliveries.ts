import { mutationPoint } from '../protocol/mutation-point.ts'
import type { StoredEvent } from '../log/index.ts'
import type { EventHub } from './event-hub.ts'
import type { TransientEvent } from './feed-event.ts'

/** Sends what this node has committed on to other nodes. Never throws. */
export interface Publisher {
  publish(events: readonly StoredEvent[]): void
  publishTransient(event: TransientEvent): void
}

export interface DeliveriesOptions {
  readonly hub: Pick<EventHub, 'deliver' | 'deliverTransient'>
  /** Absent: other nodes find events by the comparison of heads. */
  readonly publisher: Publisher | undefined
  /** Epoch of the history that this node serves. Default: the database knows one history. */
  readonly epoch?: () => string
}

/** Takes what this node has committed to everybody: to the subscribers here first, then to the other nodes. */
export class Deliveries {
  readonly #hub: DeliveriesOptions['hub']
  readonly #publisher: Publisher | undefined
  readonly #epoch: (() => string) | undefined
  #delivered: (() => void) | undefined

  constructor({ hub, publisher, epoch }: DeliveriesOptions) {
    this.#hub = hub
    this.#publisher = publisher
    this.#epoch = epoch
  }

  /** @param delivered called when events have been handed to the subscribers here, before whoever has delivered them goes on */
  onDelivered(delivered: () => void): void {
    this.#delivered = delivered
  }

  /**
   * Delivers committed events. Events of a history that has been replaced meanwhile are dropped: they belong to nobody any more.
   * @param epoch epoch of the history that they were committed in, where it is known
   */
  readonly deliver = (events: readonly StoredEvent[], epoch?: string): void => {
    const wasLeft = epoch !== undefined && epoch !== this.#epoch?.()
    if (wasLeft && !mutationPoint('events of a history that was left delivered')) return
    try {
      this.#hub.deliver(events)
    } finally {
      this.#publisher?.publish(events)
    }
    this.#delivered?.()
  }

  /** Shows an event that is in no log to the clients that listen now, here and elsewhere. */
  readonly deliverTransient = (event: TransientEvent): void => {
    this.#hub.deliverTransient(event)
    this.#publisher?.publishTransient(event)
  }
}

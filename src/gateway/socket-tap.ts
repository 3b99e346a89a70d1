import { recordDelivery, userChannel, type Clock, type Layer, type Probe } from '../core/index.ts'
import type { EncodedEvent, TransientPush } from '../events/subscription.ts'
import { acknowledgeTag, coordinationEvents, traceparentTag } from '../protocol/index.ts'
import type { Acknowledgements } from './acknowledgements.ts'

const userPrefix = userChannel('')

/**
 * Notes what leaves the sockets, and when, for whoever measures it: once for each event and node, not once for each
 * connection. It looks at what was sent, and knows nothing of why.
 */
export class SocketTap {
  readonly #probe: Probe
  readonly #clock: Clock
  readonly #acknowledgements: Acknowledgements
  /** Handed to sockets in this turn of the loop. */
  #batches: (readonly EncodedEvent[])[] = []
  #transients: TransientPush[] = []
  /** All connections of a channel get the same batch one after the other. */
  #lastBatch: readonly EncodedEvent[] | undefined
  #lastTransient: TransientPush | undefined
  /** When the first traced event of this turn was handed over, in monotonic milliseconds. */
  #tracedSince: number | undefined

  constructor(probe: Probe, clock: Clock, acknowledgements: Acknowledgements) {
    this.#probe = probe
    this.#clock = clock
    this.#acknowledgements = acknowledgements
  }

  /** A connection of the user was handed events that follow each other, under a channel it had asked for. */
  handed(userId: string, channel: string, events: readonly EncodedEvent[]): void {
    const first = events[0]
    if (first === undefined) return
    if (first.channel !== channel || isForeign(channel, userId)) {
      for (const event of events) this.#expose(userId, event)
    }
    if (events === this.#lastBatch) return
    this.#lastBatch = events
    // What was held back for a join may be in part what others had before.
    const fresh = events.filter((event) => !event.wasHanded)
    if (fresh.length === 0) return
    for (const event of fresh) {
      event.wasHanded = true
      // Now, and not when all is flushed: the first of many has it before the last one's is written.
      if (event.tags?.[acknowledgeTag] !== undefined) this.#acknowledgements.expect(event)
      if (event.tags?.[traceparentTag] !== undefined) this.#tracedSince ??= this.#clock.monotonic()
    }
    this.#batches.push(fresh)
  }

  handedTransient(userId: string, channel: string, push: TransientPush): void {
    if (push.channel !== channel || isForeign(channel, userId)) this.#expose(userId, push)
    if (push === this.#lastTransient) return
    this.#lastTransient = push
    this.#transients.push(push)
  }

  /** What was handed over in this turn is with the kernel, or waits for a peer that does not read. */
  flushed(): void {
    if (this.#batches.length === 0 && this.#transients.length === 0) return
    const at = this.#clock.monotonic()
    const [batches, transients] = [this.#batches, this.#transients]
    this.#batches = []
    this.#transients = []
    for (const { operationId, userId, channel, type, stack } of transients) {
      const layer = layerOf(type)
      this.#probe.reached({
        layer,
        operationId,
        userId,
        at,
        channel,
        ...(stack === undefined ? {} : { stack }),
      })
    }
    for (const events of batches) for (const event of events) this.#report(event, at)
    this.#tracedSince = undefined
  }

  #report(event: EncodedEvent, at: number): void {
    const { operationId, channel, type, offset, flushedAt, wasRead, tags, template } = event
    const report = { layer: layerOf(type), operationId, at, channel, offset, flushedAt }
    this.#probe.reached(wasRead === undefined ? report : { ...report, wasRead })
    const traceparent = tags?.[traceparentTag]
    if (traceparent === undefined) return
    const endedAt = this.#clock.now()
    const startedAt = endedAt - (at - (this.#tracedSince ?? at))
    const named = template === undefined ? {} : { template }
    recordDelivery({ operationId, channel, ...named, offset, traceparent, startedAt, endedAt })
  }

  #expose(userId: string, { operationId, channel }: EncodedEvent | TransientPush): void {
    this.#probe.exposed({ operationId, channel, userId, at: this.#clock.monotonic() })
  }
}

function isForeign(channel: string, userId: string): boolean {
  return channel.startsWith(userPrefix) && channel !== userPrefix + userId
}

function layerOf(type: string): Layer {
  return type === coordinationEvents.transactionRolledBack ? 'notice' : 'websocket'
}

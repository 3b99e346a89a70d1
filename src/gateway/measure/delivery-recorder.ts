import { recordDelivery, userChannel, type Clock, type Layer, type Probe } from '../../core/index.ts'
import type { FeedEvent, TransientEvent } from '../../feeds/index.ts'
import {
  acknowledgeTag,
  coordinationEvents,
  draftEvents,
  runEvents,
  traceparentTag,
} from '../../protocol/index.ts'
import type { AcknowledgementCollector } from './acknowledgement-collector.ts'

const userPrefix = userChannel('')

/**
 * Notes what leaves the sockets, and when, for whoever measures it: once for each event and node, not once for each
 * connection. It looks at what was sent, and knows nothing of why.
 */
export class DeliveryRecorder {
  readonly #probe: Probe
  readonly #clock: Clock
  readonly #acknowledgements: AcknowledgementCollector
  /** Batches handed to sockets in this turn of the loop. */
  #batches: (readonly FeedEvent[])[] = []
  #transients: TransientEvent[] = []
  /** All connections of a channel get the same batch one after the other. */
  #lastBatch: readonly FeedEvent[] | undefined
  #lastTransient: TransientEvent | undefined
  /** Monotonic time at which the first traced event of this turn was handed over, in milliseconds. */
  #tracedSince: number | undefined

  constructor(probe: Probe, clock: Clock, acknowledgements: AcknowledgementCollector) {
    this.#probe = probe
    this.#clock = clock
    this.#acknowledgements = acknowledgements
  }

  /** A connection of the user was handed events that follow each other, under a channel it had asked for. */
  handed(userId: string, channel: string, events: readonly FeedEvent[]): void {
    const first = events[0]
    if (first === undefined) return
    if (first.channel !== channel || isForeign(channel, userId)) {
      for (const event of events) this.#expose(userId, event)
    }
    if (events === this.#lastBatch) return
    this.#lastBatch = events
    // Count only events that are new: a batch held back for a join may hold events that other sockets had before.
    const fresh = events.filter((event) => !event.wasHanded)
    if (fresh.length === 0) return
    for (const event of fresh) {
      event.wasHanded = true
      // Expect answers now, and not when all is flushed: the first socket has the event before the last one's is
      // written.
      if (event.tags?.[acknowledgeTag] !== undefined) this.#acknowledgements.expect(event)
      if (event.tags?.[traceparentTag] !== undefined) this.#tracedSince ??= this.#clock.monotonic()
    }
    this.#batches.push(fresh)
  }

  handedTransient(userId: string, channel: string, event: TransientEvent): void {
    if (event.channel !== channel || isForeign(channel, userId)) this.#expose(userId, event)
    if (event === this.#lastTransient) return
    this.#lastTransient = event
    this.#transients.push(event)
  }

  /** Reports the events handed over in this turn: they are with the kernel, or wait for a peer that does not read. */
  flushed(): void {
    if (this.#batches.length === 0 && this.#transients.length === 0) return
    const at = this.#clock.monotonic()
    const [batches, transients] = [this.#batches, this.#transients]
    this.#batches = []
    this.#transients = []
    for (const { operationId, userId, channel, type, stack } of transients) {
      // Skip progress and drafts: both are shown before any commit, and marked so.
      if (type === runEvents.progress || type === draftEvents.push) continue
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

  #report(event: FeedEvent, at: number): void {
    const { operationId, channel, type, offset, flushedAt, wasRead, tags, template } = event
    // A retraction names the operation that was rolled back: its outcome is the reason, and no contradiction.
    if (type !== draftEvents.retracted) {
      const report = { layer: layerOf(type), operationId, at, channel, offset, flushedAt }
      this.#probe.reached(wasRead ? { ...report, wasRead } : report)
    }
    const traceparent = tags?.[traceparentTag]
    if (traceparent === undefined) return
    const endedAt = this.#clock.now()
    const startedAt = endedAt - (at - (this.#tracedSince ?? at))
    const named = template === undefined ? {} : { template }
    recordDelivery({ operationId, channel, ...named, offset, traceparent, startedAt, endedAt })
  }

  #expose(userId: string, { operationId, channel }: FeedEvent | TransientEvent): void {
    this.#probe.exposed({ operationId, channel, userId, at: this.#clock.monotonic() })
  }
}

function isForeign(channel: string, userId: string): boolean {
  return channel.startsWith(userPrefix) && channel !== userPrefix + userId
}

function layerOf(type: string): Layer {
  return type === coordinationEvents.transactionRolledBack ? 'notice' : 'websocket'
}

import { recordAcknowledgement, type Clock, type Probe } from '../../core/index.ts'
import type { FeedEvent } from '../../feeds/index.ts'
import { limits, traceparentTag, type AcknowledgementEntry } from '../../protocol/index.ts'
import { own } from '../wire/json.ts'

/** Totals of acknowledgements since the gateway began. */
export interface AcknowledgementCounts {
  readonly taken: number
  /** Malformed, forged, repeated, late, or of an event that is no longer remembered. */
  readonly rejected: number
}

/** A connection that says it has handled something. */
export interface Receiver {
  readonly id: string
  /** Whether an event that this node has sent went to this connection as well. */
  wasGiven(channel: string, offset: number): boolean
}

interface Asked {
  readonly operationId: string
  readonly flushedAt: number
  /** Monotonic time in milliseconds, before any client can have received the event. */
  readonly writtenAt: number
  readonly traceparent: string | undefined
  readonly template: string | undefined
  /** Ids of the connections that answered. */
  readonly answeredBy: Set<string>
}

const rememberedEvents = 4_096
/** Bound of the answers that are kept: about 20 are wanted, and clients that answer unasked must not cost memory. */
const answersPerEvent = 64
const longestRoundTripMs = 60_000
/** Browsers round `performance.now()` to as much as 1 ms (W3C High Resolution Time, section 10). */
const clientTickMs = 1
/** How far a clock that is being set right may run off, 500 ppm: adjtimex(2), also RFC 5905, appendix A. */
const clientDrift = 500e-6

/**
 * Takes what clients say they have handled. Nothing of it is trusted: a client gives a duration only, and what it
 * claims has to fit between the moment this node wrote the event and the moment the claim came in.
 */
export class AcknowledgementCollector {
  readonly #probe: Probe
  readonly #clock: Clock
  readonly #asked = new Map<string, Asked>()
  #taken = 0
  #rejected = 0

  constructor(probe: Probe, clock: Clock) {
    this.#probe = probe
    this.#clock = clock
  }

  get counts(): AcknowledgementCounts {
    return { taken: this.#taken, rejected: this.#rejected }
  }

  /** An event that asks for acknowledgement is being sent for the first time. */
  expect({ channel, offset, operationId, flushedAt, tags, template }: FeedEvent): void {
    const key = keyOf(channel, offset)
    // The same place may come again in another history; the newest stand last.
    this.#asked.delete(key)
    this.#asked.set(key, {
      operationId,
      flushedAt,
      writtenAt: this.#clock.monotonic(),
      traceparent: tags?.[traceparentTag],
      template,
      answeredBy: new Set(),
    })
    if (this.#asked.size <= rememberedEvents) return
    const [oldest] = this.#asked.keys()
    if (oldest !== undefined) this.#asked.delete(oldest)
  }

  /** The `data` of a `send` command. What is not an acknowledgement is passed over. Never throws. */
  take(data: unknown, receiver: Receiver): void {
    if (typeof data !== 'object' || data === null) return
    const acks = own(data as Readonly<Record<string, unknown>>, 'acks')
    if (acks === undefined) return
    if (!Array.isArray(acks) || acks.length > limits.maxAcknowledgements) {
      this.#rejected += 1
      return
    }
    const arrivedAt = this.#clock.monotonic()
    for (const ack of acks as readonly unknown[]) {
      const entry = entryOf(ack)
      if (entry !== undefined && this.#accept(entry, arrivedAt, receiver)) this.#taken += 1
      else this.#rejected += 1
    }
  }

  #accept([channel, offset, heldMs]: AcknowledgementEntry, arrivedAt: number, receiver: Receiver): boolean {
    const asked = this.#asked.get(keyOf(channel, offset))
    if (asked === undefined || !receiver.wasGiven(channel, offset)) return false
    const { operationId, flushedAt, writtenAt, answeredBy, traceparent, template } = asked
    if (answeredBy.size >= answersPerEvent || answeredBy.has(receiver.id)) return false
    // Check that the span is possible: the event was handled after it was written and this long before the claim came
    // in.
    const spanMs = arrivedAt - writtenAt - heldMs + clientTickMs + heldMs * clientDrift
    if (!(spanMs >= 0 && spanMs <= longestRoundTripMs)) return false
    answeredBy.add(receiver.id)
    const errorMs = spanMs / 2
    this.#probe.reached({
      layer: 'client',
      operationId,
      at: writtenAt + errorMs,
      errorMs,
      channel,
      offset,
      flushedAt,
    })
    if (traceparent !== undefined) {
      const endedAt = this.#clock.now() - (arrivedAt - writtenAt - errorMs)
      const startedAt = endedAt - errorMs
      const named = template === undefined ? {} : { template }
      recordAcknowledgement({ operationId, channel, ...named, offset, traceparent, startedAt, endedAt })
    }
    return true
  }
}

function entryOf(value: unknown): AcknowledgementEntry | undefined {
  if (!Array.isArray(value) || value.length !== 3) return undefined
  const [channel, offset, heldMs] = value as readonly unknown[]
  if (typeof channel !== 'string' || channel.length > limits.maxChannelBytes) return undefined
  if (typeof offset !== 'number' || !Number.isSafeInteger(offset) || offset < 1) return undefined
  if (typeof heldMs !== 'number' || !Number.isFinite(heldMs) || heldMs < 0) return undefined
  return [channel, offset, heldMs]
}

function keyOf(channel: string, offset: number): string {
  return `${offset} ${channel}`
}

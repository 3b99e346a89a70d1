import type { StoredEvent } from '../log/index.ts'
import type { TransientEvent } from '../feeds/index.ts'
import { encodeBusEvent, encodeBusHead, encodeBusTransient, encodeMessage } from './message.ts'
import type { OutgoingMessage } from './transport.ts'

export interface OutboxOptions {
  readonly from: string
  /** History that the events belong to. */
  readonly scope?: () => string
  readonly maxMessageBytes: number
  readonly subjectOf: (channel: string) => string
}

export const outboxBounds = {
  /** Bytes of events that may wait; beyond them only heads wait. */
  maxWaitingBytes: 4 * 1024 * 1024,
  /** Heads that may wait; beyond them heads are dropped, and the comparison of heads finds them. */
  maxWaitingHeads: 10_000,
} as const
/** Bytes of the braces and names around the parts. */
const envelopeBytes = 130

/**
 * Events on their way out, bounded whatever the broker does: what is too large for a message, or too much to
 * keep, leaves as the heads of its channels, which tell the others to read.
 */
export class Outbox {
  readonly #options: OutboxOptions
  /** Events and transients, in the order in which they came. */
  #items: Waiting[] = []
  readonly #heads = new Map<string, number>()
  #bytes = 0

  constructor(options: OutboxOptions) {
    this.#options = options
  }

  get isEmpty(): boolean {
    return this.#items.length === 0 && this.#heads.size === 0
  }

  get eventCount(): number {
    return this.#items.filter(({ kind }) => kind === 'events').length
  }

  add(events: readonly StoredEvent[]): void {
    for (const event of events) {
      const json = encodeBusEvent(event)
      const bytes = Buffer.byteLength(json) + 1
      if (this.#hasRoomFor(bytes)) {
        this.#items.push({ kind: 'events', subject: this.#options.subjectOf(event.channel), json, bytes })
        this.#bytes += bytes
      } else if (this.#heads.size < outboxBounds.maxWaitingHeads || this.#heads.has(event.channel)) {
        this.#heads.set(event.channel, Math.max(event.offset, this.#heads.get(event.channel) ?? 0))
      }
    }
  }

  /** Adds a message, which is dropped when there is no room for it. */
  addTransient(event: TransientEvent): void {
    const json = encodeBusTransient(event)
    const bytes = Buffer.byteLength(json) + 1
    if (!this.#hasRoomFor(bytes)) return
    this.#items.push({ kind: 'transients', subject: this.#options.subjectOf(event.channel), json, bytes })
    this.#bytes += bytes
  }

  /** Empties it into as few messages as their size allows. */
  take(): readonly OutgoingMessage[] {
    const packer = new Packer(this.#options)
    for (const { kind, subject, json, bytes } of this.#items) packer.add(subject, kind, json, bytes)
    for (const [channel, head] of this.#heads) {
      const json = encodeBusHead({ channel, head })
      packer.add(this.#options.subjectOf(channel), 'heads', json, Buffer.byteLength(json) + 1)
    }
    this.clear()
    return packer.finish()
  }

  clear(): void {
    this.#items = []
    this.#heads.clear()
    this.#bytes = 0
  }

  #hasRoomFor(bytes: number): boolean {
    return (
      bytes + envelopeBytes <= this.#options.maxMessageBytes &&
      this.#bytes + bytes <= outboxBounds.maxWaitingBytes
    )
  }
}

interface Waiting {
  readonly kind: 'events' | 'transients'
  readonly subject: string
  readonly json: string
  readonly bytes: number
}

interface Open {
  readonly events: string[]
  readonly heads: string[]
  readonly transients: string[]
  bytes: number
}

class Packer {
  readonly #from: string
  readonly #scope: (() => string) | undefined
  readonly #maxMessageBytes: number
  readonly #open = new Map<string, Open>()
  readonly #done: OutgoingMessage[] = []

  constructor(options: OutboxOptions) {
    this.#from = options.from
    this.#scope = options.scope
    this.#maxMessageBytes = options.maxMessageBytes
  }

  add(subject: string, kind: 'events' | 'heads' | 'transients', json: string, bytes: number): void {
    let open = this.#open.get(subject)
    // Receivers take the events of a message first, so an event that follows a transient goes into the next one.
    const isOvertaking = kind === 'events' && (open?.transients.length ?? 0) > 0
    if (open !== undefined && (isOvertaking || open.bytes + bytes > this.#maxMessageBytes)) {
      this.#close(subject, open)
      open = undefined
    }
    if (open === undefined) {
      open = { events: [], heads: [], transients: [], bytes: envelopeBytes }
      this.#open.set(subject, open)
    }
    open[kind].push(json)
    open.bytes += bytes
  }

  finish(): readonly OutgoingMessage[] {
    for (const [subject, open] of this.#open) this.#close(subject, open)
    return this.#done
  }

  #close(subject: string, parts: Open): void {
    this.#done.push({ subject, text: encodeMessage(this.#from, { scope: this.#scope?.(), ...parts }) })
  }
}

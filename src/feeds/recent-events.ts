import { mutationPoint } from '../protocol/mutation-point.ts'
import { followsOn, type RingEntry } from '../core/index.ts'
import { eventBounds, type LogReader } from '../log/index.ts'
import type { Forgetful, RecentMemory } from './recent-memory.ts'
import { fromLog, type FeedEvent } from './feed-event.ts'

export interface RecentEventsOptions {
  readonly log: LogReader
  readonly memory: RecentMemory
  /** Events that are kept; up to twice as many before the older half is forgotten. */
  readonly keep: number
  readonly maxBytes?: number
}

/** A part of the log that is being read. */
interface Reading {
  readonly from: number
  readonly to: number
  readonly events: Promise<readonly FeedEvent[] | undefined>
}

/** The last events of a channel, in memory: those who fell behind a little cost no read. */
export class RecentEvents implements Forgetful {
  readonly #channel: string
  readonly #options: RecentEventsOptions
  readonly #place: RingEntry<Forgetful>
  /** A run without a hole, up to the position of the feed. */
  #events: FeedEvent[] = []
  #bytes = 0
  #reading: Reading | undefined
  #isClosed = false

  constructor(channel: string, options: RecentEventsOptions) {
    this.#channel = channel
    this.#options = options
    this.#place = options.memory.enter(this)
  }

  /** The event at an offset, if it is still in memory. */
  at(offset: number): FeedEvent | undefined {
    const first = this.#events[0]
    return first === undefined ? undefined : this.#events[offset - first.offset]
  }

  append(events: readonly FeedEvent[]): void {
    if (this.#isClosed) return
    let bytes = 0
    for (const event of events) {
      this.#events.push(event)
      bytes += event.bytes
    }
    this.#bytes += bytes
    this.#trim()
    this.#options.memory.grew(this.#place, bytes)
  }

  /**
   * All events in (from, to], from memory or the log; undefined when some are no longer kept, or they are more than
   * `maxBytes`.
   * @throws retryable errors of the log
   */
  async between(from: number, to: number, maxBytes: number): Promise<readonly FeedEvent[] | undefined> {
    const known = this.known(from, to) ?? (await this.#readOnce(from, to, maxBytes))
    return known === undefined || bytesOf(known) > maxBytes ? undefined : known
  }

  /** All events in (from, to] that are in memory; undefined when some are not. */
  known(from: number, to: number): readonly FeedEvent[] | undefined {
    const found = this.#events.filter(({ offset }) => offset > from && offset <= to)
    return found.length === to - from ? found : undefined
  }

  forget(): void {
    this.#release(this.#events.length)
  }

  /** Keeps no event from here on, not even the result of a read that is under way. */
  close(): void {
    this.#isClosed = true
    this.forget()
    this.#place.leave()
  }

  /** Subscribers who come back at once (a deploy, a storm) share the read of the one who is furthest behind. */
  async #readOnce(from: number, to: number, maxBytes: number): Promise<readonly FeedEvent[] | undefined> {
    const reading = this.#reading
    if (reading === undefined || reading.from > from || reading.to <= from)
      return this.#load(from, to, maxBytes)
    const read = (await reading.events)?.filter(({ offset }) => offset > from && offset <= to)
    const since = to > reading.to ? this.known(reading.to, to) : []
    if (read !== undefined && since !== undefined) return [...read, ...since]
    return this.#load(from, to, maxBytes)
  }

  async #load(from: number, to: number, maxBytes: number): Promise<readonly FeedEvent[] | undefined> {
    const reading: Reading = { from, to, events: this.#read(from, to, maxBytes) }
    this.#reading = reading
    try {
      const events = await reading.events
      if (events !== undefined) this.#remember(events)
      return events
    } finally {
      if (this.#reading === reading) this.#reading = undefined
    }
  }

  async #read(from: number, to: number, maxBytes: number): Promise<readonly FeedEvent[] | undefined> {
    const events = await this.#options.log.readBetween(this.#channel, from, to, maxBytes)
    if (mutationPoint('page of the log loses an event at its edge')) return events?.map(fromLog)
    if (events?.length !== to - from || !followsOn(from, events)) return undefined
    return events.map(fromLog)
  }

  /** Puts what was read in front of what is in memory, where the two meet without a hole and there is room. */
  #remember(events: readonly FeedEvent[]): void {
    const last = events.at(-1)
    if (last === undefined) return
    const known = this.#events[0]?.offset ?? last.offset + 1
    const older = events.filter(({ offset }) => offset < known)
    const bytes = bytesOf(older)
    if (this.#isClosed || last.offset < known - 1 || this.#bytes + bytes > this.#maxBytes) return
    this.#events = [...older, ...this.#events]
    this.#bytes += bytes
    this.#options.memory.grew(this.#place, bytes)
  }

  get #maxBytes(): number {
    return this.#options.maxBytes ?? eventBounds.recentBytesPerChannel
  }

  #trim(): void {
    const { keep } = this.#options
    const { length } = this.#events
    if (length <= 2 * keep && this.#bytes <= this.#maxBytes) return
    let count = length > 2 * keep ? length - keep : 0
    let left = this.#bytes - bytesOf(this.#events.slice(0, count))
    for (; left > this.#maxBytes; count++) left -= this.#events[count]?.bytes ?? left
    this.#release(count)
  }

  /** Forgets the oldest. */
  #release(count: number): void {
    const bytes = bytesOf(this.#events.slice(0, count))
    this.#events = this.#events.slice(count)
    this.#bytes -= bytes
    this.#options.memory.shrank(bytes)
  }
}

function bytesOf(events: readonly FeedEvent[]): number {
  let bytes = 0
  for (const event of events) bytes += event.bytes
  return bytes
}

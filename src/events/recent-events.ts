import { followsOn } from '../core/index.ts'
import type { EventLog } from './event-log.ts'
import type { EncodedEvent } from './subscription.ts'

/** The last events of a channel, in memory: those who fell behind a little cost no read. */
export class RecentEvents {
  readonly #channel: string
  readonly #log: EventLog
  readonly #keep: number
  /** A run without a hole, up to the position of the feed. */
  #events: EncodedEvent[] = []
  #loading: { readonly from: number; readonly done: Promise<void> } | undefined

  constructor(channel: string, log: EventLog, keep: number) {
    this.#channel = channel
    this.#log = log
    this.#keep = keep
  }

  /** The event at an offset, if it is still in memory. */
  at(offset: number): EncodedEvent | undefined {
    const first = this.#events[0]
    return first === undefined ? undefined : this.#events[offset - first.offset]
  }

  append(events: readonly EncodedEvent[]): void {
    this.#events.push(...events)
    if (this.#events.length > 2 * this.#keep) this.#events = this.#events.slice(-this.#keep)
  }

  /**
   * All events in (from, to], from memory or the log; undefined when some are no longer kept.
   * @throws retryable errors of the log
   */
  async between(from: number, to: number): Promise<readonly EncodedEvent[] | undefined> {
    const remembered = this.#find(from, to)
    if (remembered !== undefined) return remembered
    // Those who come back at once (a deploy, a storm) share the read of the one who is furthest behind.
    if (this.#loading !== undefined && this.#loading.from <= from) {
      await this.#loading.done
      const shared = this.#find(from, to)
      if (shared !== undefined) return shared
    }
    return this.#load(from, to)
  }

  #find(from: number, to: number): readonly EncodedEvent[] | undefined {
    const found = this.#events.filter(({ offset }) => offset > from && offset <= to)
    return found.length === to - from ? found : undefined
  }

  async #load(from: number, to: number): Promise<readonly EncodedEvent[] | undefined> {
    const reading = this.#log.readAfter(this.#channel, from, to - from)
    const loading = { from, done: reading.then((events) => this.#remember(events, to)) }
    this.#loading = loading
    try {
      await loading.done
    } finally {
      if (this.#loading === loading) this.#loading = undefined
    }
    const events = await reading
    return events.length === to - from && followsOn(from, events) ? events : undefined
  }

  /** Puts what was read in front of what is in memory, where the two meet without a hole. */
  #remember(events: readonly EncodedEvent[], to: number): void {
    const first = events[0]
    const last = events.at(-1)
    if (first === undefined || last === undefined || !followsOn(first.offset - 1, events)) return
    const known = this.#events[0]?.offset ?? to + 1
    if (last.offset < known - 1) return
    this.#events = [...events.filter(({ offset }) => offset < known), ...this.#events]
  }
}

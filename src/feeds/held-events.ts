import type { FeedEvent } from './feed-event.ts'

/** Events that wait, up to a number and a number of bytes. */
export class HeldEvents {
  readonly #maxEvents: number
  readonly #maxBytes: number
  readonly #events: FeedEvent[] = []
  #bytes = 0

  constructor(maxEvents: number, maxBytes: number) {
    this.#maxEvents = maxEvents
    this.#maxBytes = maxBytes
  }

  /** False where there is no room for it: then it is not held. */
  add(event: FeedEvent): boolean {
    if (this.#events.length >= this.#maxEvents || this.#bytes + event.bytes > this.#maxBytes) return false
    this.#events.push(event)
    this.#bytes += event.bytes
    return true
  }

  take(): readonly FeedEvent[] {
    this.#bytes = 0
    return this.#events.splice(0)
  }
}

import type { LogListener, StoredEvent } from '../log/index.ts'

/** Channels that the server itself follows, each with its listeners. */
export class FollowedChannels {
  readonly #listeners = new Map<string, Set<LogListener>>()

  get channels(): Iterable<string> {
    return this.#listeners.keys()
  }

  has(channel: string): boolean {
    return this.#listeners.has(channel)
  }

  add(channel: string, listener: LogListener): void {
    const listeners = this.#listeners.get(channel) ?? new Set()
    this.#listeners.set(channel, listeners.add(listener))
  }

  delete(channel: string, listener: LogListener): void {
    const listeners = this.#listeners.get(channel)
    listeners?.delete(listener)
    if (listeners?.size === 0) this.#listeners.delete(channel)
  }

  heard(channel: string, events: readonly StoredEvent[]): void {
    for (const listener of this.#listeners.get(channel) ?? []) listener.heard(events)
  }

  headHeard(channel: string, head: number): void {
    for (const listener of this.#listeners.get(channel) ?? []) listener.headHeard(head)
  }

  /** Notes where all listeners stand, before their heads are asked for. @returns what tells them the answer */
  beforeHeads(): (heads: ReadonlyMap<string, number>) => void {
    const before = [...this.#listeners].flatMap(([channel, listeners]) =>
      Array.from(listeners, (listener) => ({ channel, listener, position: listener.position })),
    )
    return (heads) => {
      for (const { channel, listener, position } of before)
        listener.headRead(heads.get(channel) ?? 0, position)
    }
  }
}

interface Trouble {
  readonly since: number
  readonly lastAt: number
  /** Offset behind which no event could be read. */
  readonly offset: number
}

/** A channel that has not been tried for so long is not counted any more, in milliseconds. */
const forgetMs = 60_000
const mostChannels = 1_000

/** Channels whose events could not be read from the log lately. Times are monotonic milliseconds. */
export class LogTrouble {
  /** Channels in the order in which they were tried last. */
  readonly #channels = new Map<string, Trouble>()

  met(channel: string, offset: number): void {
    const now = performance.now()
    const since = this.#channels.get(channel)?.since ?? now
    this.#channels.delete(channel)
    if (this.#channels.size < mostChannels) this.#channels.set(channel, { since, lastAt: now, offset })
  }

  over(channel: string): void {
    this.#channels.delete(channel)
  }

  /** Channels that could not be read, least recently tried first. */
  get all(): readonly { readonly channel: string; readonly offset: number }[] {
    return Array.from(this.#channels, ([channel, { offset }]) => ({ channel, offset }))
  }

  /** How long the longest of them has lasted: from its first failure to its last one. */
  get longestMs(): number {
    const now = performance.now()
    let longest = 0
    for (const [channel, { since, lastAt }] of this.#channels) {
      if (now - lastAt > forgetMs) this.#channels.delete(channel)
      else longest = Math.max(longest, lastAt - since)
    }
    return longest
  }
}

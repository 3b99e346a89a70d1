interface Trouble {
  readonly since: number
  lastAt: number
}

/** What nobody has tried to read for so long is not counted any more, in milliseconds. */
const forgetMs = 60_000
const mostChannels = 1_000

/** Channels whose events could not be read from the log lately. Times are monotonic milliseconds. */
export class LogTrouble {
  readonly #channels = new Map<string, Trouble>()

  met(channel: string): void {
    const now = performance.now()
    const known = this.#channels.get(channel)
    if (known !== undefined) known.lastAt = now
    else if (this.#channels.size < mostChannels) this.#channels.set(channel, { since: now, lastAt: now })
  }

  over(channel: string): void {
    this.#channels.delete(channel)
  }

  /** How long the longest of them has lasted. */
  get longestMs(): number {
    const now = performance.now()
    let longest = 0
    for (const [channel, { since, lastAt }] of this.#channels) {
      if (now - lastAt > forgetMs) this.#channels.delete(channel)
      else longest = Math.max(longest, now - since)
    }
    return longest
  }
}

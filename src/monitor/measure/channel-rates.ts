import type { DashboardChannel } from '../model/dashboard-data.ts'
import type { ChannelGauge } from '../model/channel-gauge.ts'

const mostChannels = 5_000
const mostListed = 50
const shortestSpanMs = 1_000

interface Sample {
  readonly atMs: number
  readonly offsets: ReadonlyMap<string, number>
}

/** How busy this node's channels are, from where they stand now and where they stood. */
export class ChannelRates {
  #newest: Sample | undefined
  #older: Sample | undefined
  /** Times since which channels have been seen behind their heads. */
  #behindSince = new Map<string, number>()

  sample(channels: Iterable<ChannelGauge>, atMs: number): void {
    if (this.#newest !== undefined && atMs - this.#newest.atMs < shortestSpanMs) return
    this.#older = this.#newest
    const offsets = new Map<string, number>()
    for (const { channel, offset } of channels) {
      if (offsets.size >= mostChannels) break
      offsets.set(channel, offset)
    }
    this.#newest = { atMs, offsets }
  }

  /** The busiest now, without their heads. */
  busiest(channels: Iterable<ChannelGauge>, atMs: number): Omit<DashboardChannel, 'head' | 'lagMs'>[] {
    const since =
      this.#newest !== undefined && atMs - this.#newest.atMs >= shortestSpanMs ? this.#newest : this.#older
    const listed: Omit<DashboardChannel, 'head' | 'lagMs'>[] = []
    let count = 0
    for (const { channel, subscribers, offset } of channels) {
      if (++count > mostChannels) break
      const events = since === undefined ? 0 : offset - (since.offsets.get(channel) ?? offset)
      const seconds = since === undefined ? 1 : (atMs - since.atMs) / 1000
      listed.push({ channel, subscribers, perSecond: Math.round((Math.max(0, events) / seconds) * 10) / 10 })
    }
    return listed
      .toSorted((a, b) => b.perSecond - a.perSecond || b.subscribers - a.subscribers)
      .slice(0, mostListed)
  }

  /** Milliseconds for which a channel has been behind its head; looked at when it is asked. */
  lag(channel: string, { isBehind, atMs }: { readonly isBehind: boolean; readonly atMs: number }): number {
    if (!isBehind) {
      this.#behindSince.delete(channel)
      return 0
    }
    const since = this.#behindSince.get(channel)
    if (since !== undefined) return Math.round(atMs - since)
    if (this.#behindSince.size >= mostChannels) this.#behindSince = new Map()
    this.#behindSince.set(channel, atMs)
    return 0
  }
}

import { mutationPoint } from '../protocol/mutation-point.ts'
import { faultPoint } from '../core/fault-point.ts'
import { disregard, messageOf, Repeat, type Clock, type Logger } from '../core/index.ts'
import { traceparentTag } from '../protocol/index.ts'
import { AckSampler, type AckSampling } from './ack-sampler.ts'
import {
  eventBounds,
  type LogHints,
  type LogListener,
  type LogReader,
  type StoredEvent,
} from '../log/index.ts'
import { ChannelFeed } from './channel-feed.ts'
import type { FeedOptions } from './feed-options.ts'
import { FeedEvent, type PublicationTags, type TransientEvent } from './feed-event.ts'
import { FollowedChannels } from './followed-channels.ts'
import type { OngoingSource } from './ongoing-source.ts'
import { RecentMemory } from './recent-memory.ts'
import type { EventSource, Joined, JoinRequest, Subscriber } from './event-source.ts'

export interface EventHubOptions {
  readonly log: LogReader
  readonly clock: Clock
  readonly logger: Logger
  /** Default 25: a little more than a bus gathers events for. */
  readonly gapWaitMs?: number
  /** Default 10,000: how long events may stay unread behind a hole before the subscribers of a channel are told. */
  readonly unreadableAfterMs?: number
  /** Events kept in memory for each channel with subscribers. Default 100. */
  readonly recentEvents?: number
  /** Bytes that the recent events of all channels may take. Default 64 MiB. */
  readonly recentBytes?: number
  /** How often the heads of all served channels are compared with the database. Default 1,000. */
  readonly headCheckMs?: number
  /** Asks some receivers to acknowledge. Default: nobody is asked. */
  readonly ackSample?: AckSampling
  /** Source of the drafts and runs that are open on a channel. Default: no channel has any. */
  readonly ongoing?: OngoingSource
}

/** Hears which channels this node serves, so that events of other channels need not come here. */
export interface InterestWatcher {
  onServe(channel: string): void
  onUnserve(channel: string): void
}

/** The channels that this node serves, each with its feed. */
export class EventHub implements EventSource, LogHints {
  readonly #log: LogReader
  /** Options shared by all feeds, because there are as many feeds as users. */
  readonly #feedOptions: FeedOptions
  readonly #feeds = new Map<string, ChannelFeed>()
  readonly #followed = new FollowedChannels()
  readonly #sampler: AckSampler | undefined
  #interest: InterestWatcher | undefined
  readonly #headChecks: Repeat

  constructor(options: EventHubOptions) {
    this.#log = options.log
    const { log, clock, logger, gapWaitMs = 25, unreadableAfterMs = 10_000 } = options
    const { recentEvents = eventBounds.recentEvents, recentBytes = eventBounds.recentBytes } = options
    this.#headChecks = new Repeat({
      clock,
      everyMs: options.headCheckMs ?? 1_000,
      work: () => {
        // The feed logs what it cannot read; that it still cannot be read is no news.
        disregard(log.retryUnreadable())
        for (const feed of this.#feeds.values()) feed.lookAtDrafts()
        return this.checkHeads()
      },
      onError: (error) => logger.error({ error }, `the comparison of heads failed: ${messageOf(error)}`),
    })
    log.history.onChange(() => this.#startOver())
    if (options.ackSample !== undefined) this.#sampler = new AckSampler(clock, options.ackSample)
    this.#feedOptions = {
      log,
      clock,
      logger,
      gapWaitMs,
      unreadableAfterMs,
      recentEvents,
      ongoing: options.ongoing,
      memory: new RecentMemory(recentBytes),
      onEmpty: (feed) => this.#remove(feed),
    }
  }

  /** Starts comparing heads: what never arrived here (another node died, say) is found by it. */
  start(): void {
    this.#headChecks.start()
  }

  close(): void {
    this.#headChecks.stop()
  }

  /** How long something could not be read from the log by now, in milliseconds; 0 while all can. */
  get unreadableMs(): number {
    return this.#log.unreadableMs
  }

  get channelCount(): number {
    return this.#feeds.size
  }

  /** The application's channels that are served here, with how many listen and how far they have come. */
  *gauges(): Iterable<{ readonly channel: string; readonly subscribers: number; readonly offset: number }> {
    for (const feed of this.#feeds.values()) {
      if (feed.channel.startsWith('lockstep:')) continue
      yield { channel: feed.channel, subscribers: feed.memberCount, offset: feed.position }
    }
  }

  /** Committed events, local or heard. Those of channels that nobody here listens to cost a look-up. */
  deliver(events: readonly StoredEvent[]): void {
    void faultPoint('events.before-deliver')
    if (events.length === 1 && events[0]) {
      this.#deliverTo(events[0].channel, events)
      return
    }
    const byChannel = new Map<string, StoredEvent[]>()
    for (const event of events) {
      if (!this.#isServed(event.channel)) continue
      const batch = byChannel.get(event.channel)
      if (batch === undefined) byChannel.set(event.channel, [event])
      else batch.push(event)
    }
    for (const [channel, batch] of byChannel) this.#deliverTo(channel, batch)
  }

  /** How far channels have come elsewhere. A hint: what is missing here is read. */
  receiveHeads(heads: readonly { readonly channel: string; readonly head: number }[]): void {
    for (const { channel, head } of heads) {
      this.#feeds.get(channel)?.receiveHead(head)
      this.#followed.headHeard(channel, head)
    }
  }

  /** Tells of all channels served now, and of every change from now on. */
  watchInterest(watcher: InterestWatcher): void {
    this.#interest = watcher
    for (const channel of new Set([...this.#feeds.keys(), ...this.#followed.channels]))
      watcher.onServe(channel)
  }

  /** Tells a follower of the server's own what is heard of a channel, and its head at each comparison. */
  listen(channel: string, listener: LogListener): () => void {
    if (!this.#isServed(channel)) this.#interest?.onServe(channel)
    this.#followed.add(channel, listener)
    return () => {
      if (!this.#followed.has(channel)) return
      this.#followed.delete(channel, listener)
      if (!this.#isServed(channel)) this.#interest?.onUnserve(channel)
    }
  }

  /** Shows something that is not in the log, and so has no offset, to those who listen now. */
  deliverTransient(event: TransientEvent): void {
    this.#feeds.get(event.channel)?.deliverTransient(event)
  }

  async join(channel: string, request: JoinRequest, subscriber: Subscriber): Promise<Joined> {
    for (;;) {
      const joined = await this.#feedOf(channel).join(request, subscriber)
      // Join again after undefined: the history was replaced meanwhile, and the feed with it.
      if (joined !== undefined) return joined
    }
  }

  /** Compares every served channel with the database, once. */
  async checkHeads(): Promise<void> {
    const before = [...this.#feeds.values()].map((feed) => ({ feed, position: feed.position }))
    const channels = new Set([...before.map(({ feed }) => feed.channel), ...this.#followed.channels])
    if (channels.size === 0) return
    const tellFollowers = this.#followed.beforeHeads()
    const { heads } = await this.#log.headsOf([...channels])
    if (mutationPoint('heads of channels not compared')) return
    tellFollowers(heads)
    for (const { feed, position } of before) feed.expectHead(heads.get(feed.channel) ?? 0, position)
  }

  /** Ends every feed for another history: their subscribers have to reload. */
  #startOver(): void {
    if (mutationPoint('feeds kept over a change of history')) return
    const before = [...this.#feeds.values()]
    for (const feed of before) {
      this.#remove(feed)
      feed.end()
    }
  }

  #remove(feed: Pick<ChannelFeed, 'channel'>): void {
    if (this.#feeds.get(feed.channel) !== feed) return
    this.#feeds.delete(feed.channel)
    if (!this.#isServed(feed.channel)) this.#interest?.onUnserve(feed.channel)
  }

  #deliverTo(channel: string, events: readonly StoredEvent[]): void {
    const feed = this.#feeds.get(channel)
    this.#followed.heard(channel, events)
    feed?.receive(events.map((event) => new FeedEvent(event, this.#tagsFor(event, feed.memberCount))))
  }

  #isServed(channel: string): boolean {
    return this.#feeds.has(channel) || this.#followed.has(channel)
  }

  #tagsFor(event: StoredEvent, subscribers: number): PublicationTags | undefined {
    const asked = this.#sampler?.tagsFor(event, subscribers)
    const { traceparent } = event
    return traceparent === undefined ? asked : { ...asked, [traceparentTag]: traceparent }
  }

  #feedOf(channel: string): ChannelFeed {
    const existing = this.#feeds.get(channel)
    if (existing !== undefined) return existing
    // Announce the channel before its head is read, so that commits in between are heard, if all goes well.
    if (!this.#isServed(channel)) this.#interest?.onServe(channel)
    const feed = new ChannelFeed(channel, this.#feedOptions)
    this.#feeds.set(channel, feed)
    return feed
  }
}

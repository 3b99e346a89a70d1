import type { FeedEvent, Joined, Subscriber, TransientEvent } from '../../feeds/index.ts'
import { draftEvents } from '../../protocol/index.ts'
import { publicationOf, transientPushOf } from '../wire/publications.ts'
import type { ReplyPeer } from './reply-queue.ts'

/** The connection that subscriptions belong to. */
export interface SubscriptionHost extends ReplyPeer {
  readonly id: string
  push(frame: string, event?: FeedEvent, hasWaited?: boolean): void
  /** Pushes a frame that may be dropped when the peer is behind: then false. */
  pushTransient(frame: string): boolean
  /** Frames of these events have been pushed. */
  handed(channel: string, events: readonly FeedEvent[]): void
  handedTransient(channel: string, event: TransientEvent): void
  close(code: number, reason: string): void
  /** Counts against the user's pace. */
  charge(cost: number): void
  readonly siblings: number
}

/** All channels of the connection, which hears when one has to be asked for anew. */
interface SubscriptionSet {
  readonly host: SubscriptionHost
  lost(subscription: Subscription): void
}

/** A channel of a connection. The object exists from the moment it is asked for, so that it can be ended meanwhile. */
export class Subscription implements Subscriber {
  readonly channel: string
  readonly #set: SubscriptionSet
  joined: Joined | undefined
  state: 'joining' | 'live' | 'ended' = 'joining'
  /** Continuity was lost before the reply went out. */
  wasReset = false
  isAskedAgain = false

  constructor(channel: string, set: SubscriptionSet) {
    this.channel = channel
    this.#set = set
  }

  deliver(events: readonly FeedEvent[]): void {
    for (const event of events) {
      if (this.state !== 'live') return
      this.#set.host.push(publicationOf(event).push, event)
    }
    this.#set.host.handed(this.channel, events)
  }

  deliverTransient(event: TransientEvent): void {
    if (this.state !== 'live') return
    if (this.#set.host.pushTransient(transientPushOf(event)))
      this.#set.host.handedTransient(this.channel, event)
    // Drafts have no offsets by which a client would miss them: the reply to its next subscribe has what it lacks.
    else if (event.type === draftEvents.push || event.type === draftEvents.retracted) this.reset()
  }

  reset(): void {
    if (this.state === 'live') this.#set.lost(this)
    else this.wasReset = true
  }

  start(): void {
    this.state = 'live'
    this.joined?.start()
  }

  end(): void {
    this.state = 'ended'
    this.joined?.leave()
  }
}

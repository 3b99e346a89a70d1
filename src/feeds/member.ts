import { mutationPoint } from '../protocol/mutation-point.ts'
import { draftEvents, runEvents, type StreamPosition } from '../protocol/index.ts'
import { eventBounds } from '../log/index.ts'
import { HeldEvents } from './held-events.ts'
import type { FeedEvent, TransientEvent } from './feed-event.ts'
import type { Joined, Subscriber } from './event-source.ts'

/** Methods of the feed that its members call. */
export interface MemberHost {
  leave(member: Member): void
}

interface HeldPush {
  readonly push: TransientEvent
  readonly behind: number
}

const none: readonly FeedEvent[] = []
/** Pushes of which nothing durable follows at once. */
const keptTypes: ReadonlySet<string> = new Set([draftEvents.push, draftEvents.retracted, runEvents.progress])
const mostHeldPushes = 1_000

/** A subscriber in a feed: holds events back until its reply has been written. */
export class Member implements Joined {
  kind: Joined['kind'] = 'fresh'
  position: StreamPosition = { offset: 0, epoch: '' }
  missed = none
  ongoing: string | undefined
  readonly #host: MemberHost
  readonly #subscriber: Subscriber
  #state: 'waiting' | 'live' | 'left' = 'waiting'
  #held: HeldEvents | undefined
  #resetHeld = false
  /** Pushes that wait, each with the last offset before it. */
  #heldPushes: HeldPush[] = []
  #heldUntil = 0

  constructor(host: MemberHost, subscriber: Subscriber) {
    this.#host = host
    this.#subscriber = subscriber
  }

  get wasReset(): boolean {
    return this.#resetHeld
  }

  /** How the join ended. */
  joined(kind: Joined['kind'], position: StreamPosition, missed: readonly FeedEvent[] = none): this {
    this.kind = kind
    this.position = position
    this.missed = missed
    return this
  }

  deliver(events: readonly FeedEvent[]): void {
    if (this.#state === 'live') this.#subscriber.deliver(events)
    else if (this.#state === 'waiting') this.#hold(events)
  }

  // Drops a push for a subscriber that still waits for its reply, where the durable event follows. Chunks of drafts have no other.
  deliverTransient(push: TransientEvent): void {
    if (this.#state === 'live') this.#subscriber.deliverTransient(push)
    else if (this.#state === 'waiting' && keptTypes.has(push.type)) this.#holdPush(push)
  }

  /** Takes what is open where the reply stands: pushes before are a part of it. */
  cut(ongoing: string | undefined): void {
    this.ongoing = ongoing
    this.#heldPushes = []
  }

  reset(): void {
    if (this.#state === 'waiting') this.#resetHeld = true
    else if (this.#state === 'live') {
      this.leave()
      this.#subscriber.reset()
    }
  }

  start(): void {
    if (this.#state !== 'waiting') return
    if (mutationPoint('events before the reply dropped')) this.#held = undefined
    const later = this.#held?.take().filter((event) => event.offset > this.position.offset) ?? none
    this.#held = undefined
    // Let go of the written events: they would stay in memory as long as the member does.
    this.missed = none
    this.ongoing = undefined
    this.#state = 'live'
    const pushes = this.#heldPushes
    this.#heldPushes = []
    if (this.#resetHeld) this.reset()
    else this.#handOver(later, pushes)
  }

  #handOver(events: readonly FeedEvent[], pushes: readonly HeldPush[]): void {
    let rest = events
    for (const { push, behind } of pushes) {
      const before = rest.filter(({ offset }) => offset <= behind)
      if (before.length > 0) this.#subscriber.deliver(before)
      rest = rest.slice(before.length)
      this.#subscriber.deliverTransient(push)
    }
    if (rest.length > 0) this.#subscriber.deliver(rest)
  }

  #holdPush(push: TransientEvent): void {
    if (this.#heldPushes.length < mostHeldPushes) this.#heldPushes.push({ push, behind: this.#heldUntil })
    else this.#resetHeld = true
  }

  /** Holds events back; beyond the bounds the subscriber starts over, and reads what it is behind. */
  #hold(events: readonly FeedEvent[]): void {
    if (this.#resetHeld) return
    this.#heldUntil = events.at(-1)?.offset ?? this.#heldUntil
    const held = (this.#held ??= new HeldEvents(
      eventBounds.heldForReplyEvents,
      eventBounds.heldForReplyBytes,
    ))
    if (events.every((event) => held.add(event))) return
    this.#held = undefined
    this.#resetHeld = true
  }

  leave(): void {
    if (this.#state === 'left') return
    this.#state = 'left'
    this.#held = undefined
    this.missed = none
    this.#host.leave(this)
  }
}

/** A set that costs nothing while it has one entry, as the channel of a user mostly does. */
export class Members {
  #one: Member | undefined
  #many: Set<Member> | undefined

  get size(): number {
    return this.#many?.size ?? (this.#one === undefined ? 0 : 1)
  }

  add(member: Member): void {
    if (this.#many !== undefined) this.#many.add(member)
    else if (this.#one === undefined) this.#one = member
    else {
      this.#many = new Set([this.#one, member])
      this.#one = undefined
    }
  }

  delete(member: Member): void {
    if (this.#one === member) this.#one = undefined
    this.#many?.delete(member)
  }

  forEach(visit: (member: Member) => void): void {
    if (this.#one !== undefined) visit(this.#one)
    else if (this.#many !== undefined) for (const member of this.#many) visit(member)
  }
}

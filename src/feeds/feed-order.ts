import { mutationPoint } from '../protocol/mutation-point.ts'
import { limits, type StreamPosition } from '../protocol/index.ts'
import { followsOn, OffsetSequencer } from '../core/index.ts'
import { eventBounds } from '../log/index.ts'
import { HeldEvents } from './held-events.ts'
import type { FeedEvent } from './feed-event.ts'
import type { Joined } from './event-source.ts'

/** Work for a feed after it has learned something. */
export type FeedStep =
  | { readonly step: 'deliver'; readonly events: readonly FeedEvent[] }
  /** The read was empty and no event was heard meanwhile: only the head tells whether there is more to come. */
  | { readonly step: 'readHead' }
  /** The events between are gone: everyone has to reload. */
  | { readonly step: 'reload'; readonly position: number; readonly head: number }
  /** The log lacks events that were delivered. */
  | { readonly step: 'replaced'; readonly reason: string }

/** How a join is answered. */
export type JoinStep =
  | { readonly step: 'answer'; readonly kind: Joined['kind'] }
  /** Events after `from`, up to where the feed stands. */
  | { readonly step: 'recover'; readonly from: number }

export interface FeedOrderOptions {
  /** The event that was delivered at an offset, as far as it is still known. */
  readonly deliveredAt: (offset: number) => Pick<FeedEvent, 'operationId'> | undefined
  /** How long events may stay unread behind a hole before the subscribers are notified, in milliseconds. */
  readonly unreadableAfterMs: number
}

/** Bounds of the events that are kept behind a hole. Events beyond them are read again from the log: kept, it would pile up for as long as that cannot be read. */
const whileWaiting = { maxAhead: eventBounds.heldEvents, maxBytes: eventBounds.heldBytes }
const nothing: FeedStep = { step: 'deliver', events: [] }

/**
 * Decides in which order a channel's subscribers are shown what was heard and read, and when continuity is lost. Pure: it
 * reads no log and no clock; `ChannelFeed` does what it says.
 */
export class FeedOrder {
  readonly #deliveredAt: (offset: number) => Pick<FeedEvent, 'operationId'> | undefined
  readonly #unreadableAfterMs: number
  #sequencer: OffsetSequencer<FeedEvent> | undefined
  #epoch = ''
  /** Events heard before the head was known. */
  #early: HeldEvents | undefined
  #earlyHead = 0
  /** Time since when the log could not be read to fill a hole, in monotonic milliseconds. */
  #unreadSince: number | undefined

  constructor(options: FeedOrderOptions) {
    this.#deliveredAt = options.deliveredAt
    this.#unreadableAfterMs = options.unreadableAfterMs
  }

  /** Offset of the last event that was delivered. */
  get position(): number {
    return this.#sequencer?.position ?? 0
  }

  get top(): StreamPosition {
    return { offset: this.position, epoch: this.#epoch }
  }

  get isOpen(): boolean {
    return this.#sequencer !== undefined
  }

  /** Whether something is known to exist that could not be delivered yet. */
  get hasGap(): boolean {
    return this.#sequencer?.hasGap === true
  }

  /** The head was read for the first time: what was heard before is put behind it. */
  opened(head: number, epoch: string): FeedStep {
    this.#epoch = epoch
    this.#sequencer = new OffsetSequencer(head, whileWaiting)
    const early = this.#early?.take()
    this.#early = undefined
    const step = early === undefined ? nothing : this.heard(early)
    this.#sequencer.expect(this.#earlyHead)
    return step
  }

  /** Events in any order, as the bus or a local commit hands them over. */
  heard(events: readonly FeedEvent[]): FeedStep {
    if (this.#sequencer === undefined) return this.#hold(events)
    if (events.some((event) => this.#contradicts(event))) {
      return { step: 'replaced', reason: 'one offset has two events' }
    }
    if (mutationPoint('hole taken for what the bus did not bring'))
      this.#sequencer.restart(Math.max(this.position, (events[0]?.offset ?? 1) - 1))
    return { step: 'deliver', events: acceptAll(this.#sequencer, events) }
  }

  /** The channel has come this far, it is said. Only ever a reason to read: it may be an old message. */
  headHeard(head: number): void {
    if (this.#sequencer === undefined) this.#earlyHead = Math.max(this.#earlyHead, head)
    else this.#sequencer.expect(head)
  }

  /**
   * The database has answered its head. One below `positionBefore`, where the feed stood before the question was asked,
   * means that the history was replaced.
   */
  headRead(head: number, positionBefore: number): FeedStep {
    if (head < positionBefore && !mutationPoint('head that went back unnoticed'))
      return { step: 'replaced', reason: 'the head of a channel went back' }
    this.#sequencer?.expect(head)
    return nothing
  }

  /** A page of the log, read from behind `position`. */
  pageRead(position: number, page: readonly FeedEvent[]): FeedStep {
    const sequencer = this.#sequencer
    if (sequencer === undefined) return nothing
    const events = followsOn(position, page) ? acceptAll(sequencer, page) : []
    return sequencer.position === position ? { step: 'readHead' } : { step: 'deliver', events }
  }

  /** The head, read because nothing was found behind `position`: what is missing is not there any more. */
  nothingBehind(position: number, head: number): FeedStep {
    if (head < position) return { step: 'replaced', reason: 'the head of a channel went back' }
    this.#sequencer?.restart(head)
    return { step: 'reload', position, head }
  }

  /** Notes that all missing events have been read. */
  filled(): void {
    this.#unreadSince = undefined
  }

  /** The log could not be read. @returns whether to tell the subscribers, who must not take the silence for quiet */
  unread(nowMs: number): boolean {
    this.#unreadSince ??= nowMs
    return nowMs - this.#unreadSince >= this.#unreadableAfterMs
  }

  /** Whether the subscriber is said to be further than this feed, so that the head has to be read before it is answered. */
  isBehind(recoverFrom: StreamPosition | undefined): boolean {
    return recoverFrom !== undefined && this.#isThisHistory(recoverFrom) && recoverFrom.offset > this.position
  }

  join(recoverFrom: StreamPosition | undefined): JoinStep {
    if (recoverFrom === undefined) return { step: 'answer', kind: 'fresh' }
    if (!this.#isThisHistory(recoverFrom)) return { step: 'answer', kind: 'unrecoverable' }
    const missing = this.position - recoverFrom.offset
    if (missing === 0) return { step: 'answer', kind: 'recovered' }
    if (missing < 0 || missing > limits.recoveryPage) return { step: 'answer', kind: 'unrecoverable' }
    if (mutationPoint('resume skips one')) return { step: 'recover', from: recoverFrom.offset + 1 }
    if (mutationPoint('resume repeats one'))
      return { step: 'recover', from: Math.max(recoverFrom.offset - 1, 0) }
    return { step: 'recover', from: recoverFrom.offset }
  }

  /** An empty epoch is not compared, as in Centrifugo: a client that was never given one can only name an offset. */
  #isThisHistory({ epoch }: StreamPosition): boolean {
    return epoch === '' || epoch === this.#epoch || mutationPoint('recovered into another history')
  }

  /** Keeps events until the head is known. Events beyond the bounds are read then. */
  #hold(events: readonly FeedEvent[]): FeedStep {
    this.#early ??= new HeldEvents(eventBounds.heldEvents, eventBounds.heldBytes)
    for (const event of events) {
      if (!this.#early.add(event)) this.#earlyHead = Math.max(this.#earlyHead, event.offset)
    }
    return nothing
  }

  /** An event that stands where another one was delivered. */
  #contradicts(event: FeedEvent): boolean {
    if (event.offset > this.position || mutationPoint('one offset with two events unnoticed')) return false
    const known = this.#deliveredAt(event.offset)
    return known !== undefined && known.operationId !== event.operationId
  }
}

function acceptAll(
  sequencer: OffsetSequencer<FeedEvent>,
  events: readonly FeedEvent[],
): readonly FeedEvent[] {
  const [first] = events
  if (first !== undefined && events.length === 1) return sequencer.accept(first)
  return events.flatMap((event) => sequencer.accept(event))
}

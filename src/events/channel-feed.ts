import { limits, type StreamPosition } from '../protocol/index.ts'
import {
  detach,
  disregard,
  followsOn,
  messageOf,
  OffsetSequencer,
  type Clock,
  type Logger,
} from '../core/index.ts'
import type { EventLog } from './event-log.ts'
import { Member, Members, type MemberHost } from './member.ts'
import { RecentEvents } from './recent-events.ts'
import type { EncodedEvent, Joined, JoinRequest, Subscriber, TransientPush } from './subscription.ts'

export interface FeedOptions {
  readonly log: EventLog
  readonly clock: Clock
  readonly logger: Logger
  /** How long a hole may wait for its event before the log is read: commits can be heard out of order. */
  readonly gapWaitMs: number
  /** How long a hole may stay because the log cannot be read, before the subscribers are told. */
  readonly unreadableAfterMs: number
  /** Events kept in memory, so that those who fell behind a little cost no read. */
  readonly recentEvents: number
  /** The last member has left. */
  readonly onEmpty: (feed: ChannelFeed) => void
}

const firstRetryMs = 50
const longestRetryMs = 1_000
/** Offsets behind the position whose events are kept until those before them are there. */
const mostAhead = 1_000

/**
 * One channel on this node, for as long as it has subscribers, in one history of the log. All of them stand at the same position; what
 * arrives moves them on together, in offset order and without a hole.
 */
export class ChannelFeed implements MemberHost {
  readonly channel: string
  readonly #options: FeedOptions
  readonly #members = new Members()
  #opened: Promise<void> | undefined
  #sequencer: OffsetSequencer<EncodedEvent> | undefined
  /** Announced before the head was known. */
  #early: EncodedEvent[] | undefined
  #earlyHead = 0
  /** Made when there is something to remember. */
  #recent: RecentEvents | undefined
  #epoch = ''
  #cancelGapTimer: (() => void) | undefined
  #filling: Promise<void> | undefined
  /** Since when the log could not be read to fill a hole, in monotonic milliseconds. */
  #unreadSince: number | undefined
  #hasEnded = false

  constructor(channel: string, options: FeedOptions) {
    this.channel = channel
    this.#options = options
    this.#opened = this.#open()
    // Each join awaits and reports it; without members nobody needs to.
    disregard(this.#opened)
  }

  get memberCount(): number {
    return this.#members.size
  }

  get position(): number {
    return this.#sequencer?.position ?? 0
  }

  /** Events in any order, as the bus or a local commit hands them over. */
  announce(events: readonly EncodedEvent[]): void {
    if (this.#sequencer === undefined) {
      ;(this.#early ??= []).push(...events)
      return
    }
    const sequencer = this.#sequencer
    if (events.some((event) => this.#contradicts(event))) return this.#replaced('one offset has two events')
    this.#deliver(acceptAll(sequencer, events))
    this.#watchGap()
  }

  /** The channel has come this far, it is said. Only ever a reason to read: it may be an old message. */
  announceHead(head: number): void {
    if (this.#sequencer === undefined) this.#earlyHead = Math.max(this.#earlyHead, head)
    else {
      this.#sequencer.expect(head)
      this.#watchGap()
    }
  }

  /** A push without an offset: shown to those who listen now, kept for nobody. */
  announceTransient(push: TransientPush): void {
    this.#members.forEach((member) => member.deliverTransient(push))
  }

  /**
   * Learns the head from the database; reads what was not heard. A head below `positionBefore`, where the feed
   * stood before the question was asked, means that the history was replaced.
   */
  expectHead(head: number, positionBefore: number): void {
    if (this.#sequencer === undefined || this.#hasEnded) return
    if (head < positionBefore) return this.#replaced('the head of a channel went back')
    this.#sequencer.expect(head)
    this.#watchGap()
  }

  /**
   * Undefined when the history was replaced meanwhile: then there is another feed of the channel.
   * @throws retryable errors of the log
   */
  async join(request: JoinRequest, subscriber: Subscriber): Promise<Joined | undefined> {
    const member = new Member(this, subscriber)
    // Before anything is awaited, so that nothing is missed between the answer and the first live event.
    this.#members.add(member)
    try {
      await this.#opened
      await this.#answer(request, member)
      if (!this.#hasEnded) return member
    } catch (error) {
      if (!this.#hasEnded) {
        member.leave()
        throw error
      }
    }
    member.leave()
    return undefined
  }

  /** Another history has taken the place of this one: nothing is delivered from here on, and everyone has to reload. */
  end(): void {
    this.#hasEnded = true
    this.#cancelGapTimer?.()
    this.#cancelGapTimer = undefined
    this.#members.forEach((member) => member.reset())
  }

  leave(member: Member): void {
    this.#members.delete(member)
    if (this.#members.size > 0) return
    this.#cancelGapTimer?.()
    this.#options.onEmpty(this)
  }

  async #answer({ recoverFrom }: JoinRequest, member: Member): Promise<Member> {
    if (recoverFrom === undefined) return member.joined('fresh', this.#top())
    if (this.#isThisHistory(recoverFrom) && recoverFrom.offset > this.position) await this.#catchUp()
    if (!this.#isThisHistory(recoverFrom)) return member.joined('unrecoverable', this.#top())
    const top = this.#top()
    const behind = top.offset - recoverFrom.offset
    if (behind === 0) return member.joined('recovered', top)
    if (behind < 0 || behind > limits.recoveryPage) return member.joined('unrecoverable', top)
    const missed = await this.#memory().between(recoverFrom.offset, top.offset)
    if (missed === undefined) return member.joined('unrecoverable', this.#top())
    return member.joined('recovered', top, missed)
  }

  /** An empty epoch is not compared, as in Centrifugo: a client that was never given one can only name an offset. */
  #isThisHistory({ epoch }: StreamPosition): boolean {
    return epoch === '' || epoch === this.#epoch
  }

  #top(): StreamPosition {
    return { offset: this.position, epoch: this.#epoch }
  }

  #memory(): RecentEvents {
    const { log, recentEvents } = this.#options
    this.#recent ??= new RecentEvents(this.channel, log, recentEvents)
    return this.#recent
  }

  async #open(): Promise<void> {
    const { head, epoch } = await this.#options.log.headOf(this.channel)
    this.#epoch = epoch
    this.#sequencer = new OffsetSequencer(head)
    const early = this.#early
    this.#early = undefined
    this.#opened = undefined
    if (early !== undefined) this.announce(early)
    this.announceHead(this.#earlyHead)
  }

  /** Reads the head and everything up to it. */
  async #catchUp(): Promise<void> {
    const positionBefore = this.position
    const { head } = await this.#options.log.headOf(this.channel)
    this.expectHead(head, positionBefore)
    if (this.#sequencer?.hasGap) await this.#fill()
  }

  /** An event that stands where another one was delivered. */
  #contradicts(event: EncodedEvent): boolean {
    if (event.offset > this.position) return false
    const known = this.#recent?.at(event.offset)
    return known !== undefined && known.operationId !== event.operationId
  }

  #replaced(reason: string): void {
    const { log, logger } = this.#options
    logger.warn({ channel: this.channel, position: this.position, epoch: this.#epoch }, reason)
    log.history.replaced(`${reason}: ${this.channel}`)
  }

  #deliver(events: readonly EncodedEvent[]): void {
    if (events.length === 0 || this.#hasEnded) return
    this.#memory().append(events)
    this.#members.forEach((member) => member.deliver(events))
  }

  #watchGap(): void {
    if (!this.#sequencer?.hasGap || this.#members.size === 0 || this.#hasEnded) {
      this.#cancelGapTimer?.()
      this.#cancelGapTimer = undefined
    } else if (this.#filling === undefined) this.#fillLater(this.#options.gapWaitMs, firstRetryMs)
  }

  /** One timer at a time: whoever finds a hole meanwhile waits for it, too. */
  #fillLater(waitMs: number, retryMs: number): void {
    this.#cancelGapTimer ??= this.#options.clock.after(waitMs, () => {
      this.#cancelGapTimer = undefined
      detach(this.#fillUntilDone(retryMs), this.#options.logger, 'filling a gap')
    })
  }

  async #fillUntilDone(retryMs: number): Promise<void> {
    try {
      await this.#fill()
      this.#unreadSince = undefined
      this.#watchGap()
    } catch (error) {
      if (this.#hasEnded) return
      this.#options.logger.warn(
        { channel: this.channel, error: messageOf(error), retryMs },
        'the log could not be read to fill a gap; trying again',
      )
      if (this.#members.size === 0) return
      const now = this.#options.clock.monotonic()
      this.#unreadSince ??= now
      if (now - this.#unreadSince >= this.#options.unreadableAfterMs) this.#tellUnreadable()
      if (this.#members.size === 0) return
      this.#fillLater(retryMs, Math.min(retryMs * 2, longestRetryMs))
    }
  }

  /**
   * Subscribers must not take the silence for quiet. Each is sent back to ask for what it missed, and is refused, with
   * an error that its client shows, for as long as that cannot be read.
   */
  #tellUnreadable(): void {
    this.#options.logger.error(
      { channel: this.channel, position: this.position },
      'events cannot be read from the log; subscribers are told',
    )
    this.#members.forEach((member) => member.reset())
  }

  /** One read at a time, whoever asks. */
  #fill(): Promise<void> {
    this.#filling ??= this.#readMissing().finally(() => {
      this.#filling = undefined
    })
    return this.#filling
  }

  async #readMissing(): Promise<void> {
    for (;;) {
      const sequencer = this.#sequencer
      if (sequencer === undefined || !sequencer.hasGap || this.#members.size === 0 || this.#hasEnded) return
      const { position } = sequencer
      const events = await this.#options.log.readAfter(this.channel, position, limits.recoveryPage)
      if (followsOn(position, events)) this.#deliver(acceptAll(sequencer, events))
      // Neither read nor heard meanwhile: it is not there any more.
      if (sequencer.position === position) {
        const { head } = await this.#options.log.headOf(this.channel)
        if (head < position) return this.#replaced('the head of a channel went back')
        this.#startOver(head)
        return
      }
    }
  }

  /** The events between are gone: everyone has to reload. */
  #startOver(head: number): void {
    this.#options.logger.warn(
      { channel: this.channel, position: this.position, head, epoch: this.#epoch },
      'history is no longer continuous; subscribers are told to reload',
    )
    // Not emptied: a read that is under way would fill it again with what is gone.
    this.#recent = undefined
    this.#sequencer?.restart(head)
    this.#members.forEach((member) => member.reset())
  }
}

function acceptAll(
  sequencer: OffsetSequencer<EncodedEvent>,
  events: readonly EncodedEvent[],
): readonly EncodedEvent[] {
  const [first] = events
  if (first !== undefined && events.length === 1) return accept(sequencer, first)
  return events.flatMap((event) => accept(sequencer, event))
}

/** What is far behind a hole is read again from the log: kept, it would pile up for as long as that cannot be read. */
function accept(sequencer: OffsetSequencer<EncodedEvent>, event: EncodedEvent): readonly EncodedEvent[] {
  if (event.offset <= sequencer.position + mostAhead) return sequencer.accept(event)
  sequencer.expect(event.offset)
  return []
}

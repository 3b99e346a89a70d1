import { mutationPoint } from '../protocol/mutation-point.ts'
import { draftEvents, limits } from '../protocol/index.ts'
import { detach, disregard, messageOf } from '../core/index.ts'
import { eventBounds } from '../log/index.ts'
import { FeedOngoing, type OngoingHost } from './feed-ongoing.ts'
import type { FeedOptions } from './feed-options.ts'
import { FeedOrder, type FeedStep } from './feed-order.ts'
import { Member, Members, type MemberHost } from './member.ts'
import { RecentEvents } from './recent-events.ts'
import { fromLog, shownOf, type FeedEvent, type TransientEvent } from './feed-event.ts'
import type { Joined, JoinRequest, Subscriber } from './event-source.ts'

const firstRetryMs = 50
const longestRetryMs = 1_000

/**
 * Subscribers of one channel on this node, in one history of the log; the feed lives as long as it has any. All
 * subscribers stand at the same position, and each event that arrives moves them on together. `FeedOrder` decides which
 * events they are shown; this class reads the log, keeps the timer and delivers.
 */
export class ChannelFeed implements MemberHost, OngoingHost {
  readonly channel: string
  readonly #options: FeedOptions
  readonly #members = new Members()
  readonly #order: FeedOrder
  #opened: Promise<void> | undefined
  /** Open drafts and runs, where the channel may have any. */
  readonly #ongoing: FeedOngoing | undefined
  /** Recent events, created when there is one to remember. */
  #recent: RecentEvents | undefined
  #cancelGapTimer: (() => void) | undefined
  #filling: Promise<void> | undefined
  #hasEnded = false
  /** How many entries up to the position are shown to nobody, as far as is known. */
  #hidden = 0

  constructor(channel: string, options: FeedOptions) {
    this.channel = channel
    this.#options = options
    this.#order = new FeedOrder({
      deliveredAt: (offset) => this.#recent?.at(offset),
      unreadableAfterMs: options.unreadableAfterMs,
    })
    const { ongoing } = options
    if (ongoing?.covers(channel) === true) this.#ongoing = new FeedOngoing(this, ongoing, options)
    this.#opened = this.#open()
    // Each join awaits and reports it; without members nobody needs to.
    disregard(this.#opened)
  }

  get memberCount(): number {
    return this.#members.size
  }

  get position(): number {
    return this.#order.position
  }

  get hasEnded(): boolean {
    return this.#hasEnded
  }

  /** Events in any order, as the bus or a local commit hands them over. */
  receive(events: readonly FeedEvent[]): void {
    this.#learn(this.#order.heard(events))
  }

  /** The channel has come this far, it is said. Only ever a reason to read: it may be an old message. */
  receiveHead(head: number): void {
    this.#order.headHeard(head)
    this.#watchGap()
  }

  /** A push without an offset: shown to those who listen now, kept for nobody. */
  deliverTransient(push: TransientEvent): void {
    if (this.#ongoing !== undefined) return this.#ongoing.pushed(push)
    // Pass over drafts of a channel that this node knows to have none.
    if (push.type !== draftEvents.push) this.show([push])
  }

  /** Shows pushes to those who listen now, behind all events up to the position. */
  show(pushes: readonly TransientEvent[]): void {
    for (const push of pushes) this.#members.forEach((member) => member.deliverTransient(push))
  }

  /** Asks how drafts stand that have been silent for some time. */
  lookAtDrafts(): void {
    this.#ongoing?.look()
  }

  /**
   * Learns the head from the database; reads what was not heard. A head below `positionBefore`, where the feed
   * stood before the question was asked, means that the history was replaced.
   */
  expectHead(head: number, positionBefore: number): void {
    if (!this.#order.isOpen || this.#hasEnded) return
    this.#learn(this.#order.headRead(head, positionBefore))
  }

  /** Takes a head from the database, as `expectHead`, and reads everything up to it. @throws retryable errors of the log */
  async reach(head: number, positionBefore: number): Promise<void> {
    this.expectHead(head, positionBefore)
    if (this.#order.hasGap) await this.#fill()
  }

  /**
   * Joins a subscriber; undefined when the history was replaced meanwhile, since the channel then has another feed.
   * @throws retryable errors of the log
   */
  async join(request: JoinRequest, subscriber: Subscriber): Promise<Joined | undefined> {
    const member = new Member(this, subscriber)
    // Join before anything is awaited, so that no event is missed between the answer and the first live one.
    this.#members.add(member)
    try {
      await this.#opened
      await this.#ongoing?.known()
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

  /**
   * Ends the feed when another history has taken the place of its own: it delivers no more, and all subscribers reload.
   */
  end(): void {
    this.#hasEnded = true
    this.#cancelGapTimer?.()
    this.#cancelGapTimer = undefined
    this.#recent?.close()
    this.#ongoing?.close()
    this.#members.forEach((member) => member.reset())
  }

  leave(member: Member): void {
    this.#members.delete(member)
    if (this.#members.size > 0) return
    this.#cancelGapTimer?.()
    this.#ongoing?.close()
    this.#recent?.close()
    this.#options.onEmpty(this)
  }

  async #answer(
    { recoverFrom, maxBytes = eventBounds.recentBytesPerChannel }: JoinRequest,
    member: Member,
  ): Promise<Member> {
    const order = this.#order
    if (order.isBehind(recoverFrom)) await this.#catchUp()
    const next = order.join(recoverFrom)
    const { top } = order
    member.cut(this.#ongoing?.text)
    if (next.step === 'answer') return member.joined(next.kind, top)
    const missed = await this.#memory().between(next.from, top.offset, maxBytes)
    if (missed === undefined) return member.joined('unrecoverable', order.top)
    // Add the events that came meanwhile: their offsets are counted from the hidden entries that were just read.
    const since = this.#memory().known(top.offset, this.position)
    const { shown, hidden } = shownOf(since === undefined ? missed : [...missed, ...since])
    if (since === undefined) return member.joined('recovered', top, shown)
    // Count the hidden entries: the next live event tells these subscribers, too, that none is missing in between.
    this.#hidden = Math.max(this.#hidden, hidden)
    member.cut(this.#ongoing?.text)
    return member.joined('recovered', order.top, shown)
  }

  #memory(): RecentEvents {
    const { log, memory, recentEvents } = this.#options
    this.#recent ??= new RecentEvents(this.channel, { log, memory, keep: recentEvents })
    return this.#recent
  }

  async #open(): Promise<void> {
    const { head, epoch } = await this.#options.log.headOf(this.channel)
    this.#opened = undefined
    this.#learn(this.#order.opened(head, epoch))
  }

  /** Reads the head and everything up to it. */
  async #catchUp(): Promise<void> {
    const positionBefore = this.position
    const { head } = await this.#options.log.headOf(this.channel)
    await this.reach(head, positionBefore)
  }

  #learn(next: FeedStep): void {
    this.#carryOut(next)
    if (next.step === 'deliver') this.#watchGap()
  }

  #carryOut(next: FeedStep): void {
    if (next.step === 'deliver') this.#deliver(next.events)
    else if (next.step === 'replaced') this.#replaced(next.reason)
    else if (next.step === 'reload') this.#startOver(next)
  }

  #replaced(reason: string): void {
    const { log, logger } = this.#options
    const { offset: position, epoch } = this.#order.top
    logger.warn({ channel: this.channel, position, epoch }, reason)
    log.history.replaced(`${reason}: ${this.channel}`)
  }

  #deliver(events: readonly FeedEvent[]): void {
    if (events.length === 0 || this.#hasEnded) return
    this.#memory().append(events)
    const { shown, hidden } = shownOf(events, this.#hidden)
    this.#hidden = hidden
    if (shown.length > 0) this.#members.forEach((member) => member.deliver(shown))
    this.#ongoing?.delivered(events)
  }

  #watchGap(): void {
    if (!this.#order.hasGap || this.#members.size === 0 || this.#hasEnded) {
      this.#cancelGapTimer?.()
      this.#cancelGapTimer = undefined
    } else if (this.#filling === undefined && !mutationPoint('hole never filled'))
      this.#fillLater(this.#options.gapWaitMs, firstRetryMs)
  }

  /** Sets the timer for a read of missing events. Later calls share the running timer. */
  #fillLater(waitMs: number, retryMs: number): void {
    this.#cancelGapTimer ??= this.#options.clock.after(waitMs, () => {
      this.#cancelGapTimer = undefined
      detach(this.#fillUntilDone(retryMs), this.#options.logger, 'filling a gap')
    })
  }

  async #fillUntilDone(retryMs: number): Promise<void> {
    try {
      await this.#fill()
      this.#order.filled()
      this.#watchGap()
    } catch (error) {
      if (this.#hasEnded) return
      this.#options.logger.warn(
        { channel: this.channel, error: messageOf(error), retryMs },
        'the log could not be read to fill a gap; trying again',
      )
      if (this.#members.size === 0) return
      if (this.#order.unread(this.#options.clock.monotonic())) this.#tellUnreadable()
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
      'events cannot be read from the log; subscribers are notified',
    )
    this.#members.forEach((member) => member.reset())
  }

  /** Reads the missing events; callers during a read share it. */
  #fill(): Promise<void> {
    this.#filling ??= this.#readMissing().finally(() => {
      this.#filling = undefined
    })
    return this.#filling
  }

  async #readMissing(): Promise<void> {
    const { log } = this.#options
    const order = this.#order
    while (order.hasGap && this.#members.size > 0 && !this.#hasEnded) {
      const { position } = order
      const found = await log.readAfter(this.channel, position, limits.recoveryPage)
      const next = order.pageRead(position, found.map(fromLog))
      if (next.step !== 'readHead') this.#carryOut(next)
      else {
        const { head } = await log.headOf(this.channel)
        return this.#carryOut(order.nothingBehind(position, head))
      }
    }
  }

  /** The events between are gone: everyone has to reload. */
  #startOver({ position, head }: Extract<FeedStep, { step: 'reload' }>): void {
    this.#options.logger.warn(
      { channel: this.channel, position, head, epoch: this.#order.top.epoch },
      'history is no longer continuous; subscribers are asked to reload',
    )
    // Close the memory: a read that is under way would fill it again with events that are gone.
    this.#recent?.close()
    this.#recent = undefined
    this.#ongoing?.startOver()
    this.#members.forEach((member) => member.reset())
  }
}

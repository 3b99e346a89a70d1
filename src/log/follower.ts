import {
  detach,
  isPromise,
  messageOf,
  OffsetSequencer,
  type Clock,
  type Logger,
  type Placed,
} from '../core/index.ts'
import { limits, type StreamPosition } from '../protocol/index.ts'
import { eventBounds } from './bounds.ts'
import type { LogReader } from './log.ts'
import { bytesOfEvent, type StoredEvent } from './stored-event.ts'

/** Listens to what is heard of a channel: hints, which may come late, twice, in another order, or never. */
export interface LogListener {
  /** Offset of the last event that was handed on. */
  readonly position: number
  /** Events that this node has committed, or that the bus has brought. */
  heard(events: readonly StoredEvent[]): void
  /** The channel has come this far, it is said. */
  headHeard(head: number): void
  /** The database has answered its head, asked for when the listener stood at `positionBefore`. */
  headRead(head: number, positionBefore: number): void
}

/** Source of hints. */
export interface LogHints {
  /** Tells of a channel from now on, and at times of its head. @returns what ends it */
  listen(channel: string, listener: LogListener): () => void
}

export interface FollowerOptions {
  readonly log: LogReader
  readonly hints: LogHints
  readonly clock: Clock
  readonly logger: Logger
  readonly channel: string
  /** Position that the caller has. Absent: the head, as it is at the start. */
  readonly from?: StreamPosition
  /**
   * Takes events that follow each other, entries that no client is shown included. Nothing more is handed over until a
   * promise that it returns has settled. Must not throw or reject.
   */
  readonly hear: (events: readonly StoredEvent[]) => void | Promise<void>
  /**
   * Events up to this position cannot be had: they are removed, or of another history. The next event follows behind it.
   * Must not throw.
   */
  readonly reset: (position: StreamPosition) => void
  /** How long a hole may wait for its event before the log is read. Default 25. */
  readonly gapWaitMs?: number
}

interface Item extends Placed {
  readonly event: StoredEvent
}

const bounds = { maxAhead: eventBounds.heldEvents, maxBytes: eventBounds.heldBytes }
const firstRetryMs = 50
const longestRetryMs = 1_000

/**
 * Follows one channel for the server itself: each event in order, each once, holes filled from the log, from a position or
 * from the head. Internal channels have no subscribers, and whoever follows one may be far behind: it is read page by page.
 */
export class Follower implements LogListener {
  readonly #options: FollowerOptions
  /** Absent until the head is known, and while another history takes the place of the one before. */
  #sequencer: OffsetSequencer<Item> | undefined
  /** How far the channel has come by what was heard before that. */
  #heardHead = 0
  #from: StreamPosition | undefined
  /** Counts histories, so that what was read of the one before is dropped. */
  #history = 0
  /** Settles when the hearer has taken what it was handed last. */
  #handing: Promise<void> | undefined
  #isFilling = false
  #isClosed = false
  #cancelTimer: (() => void) | undefined
  #unlisten: (() => void) | undefined

  constructor(options: FollowerOptions) {
    this.#options = options
    this.#from = options.from
  }

  get position(): number {
    return this.#sequencer?.position ?? 0
  }

  /** Resolves when it follows, or is known not to yet; then it goes on trying by itself. */
  async start(): Promise<void> {
    const { hints, log, channel } = this.#options
    this.#unlisten = hints.listen(channel, this)
    log.history.onChange(() => this.#startOver())
    await this.#open(this.#history, firstRetryMs)
  }

  close(): void {
    this.#isClosed = true
    this.#unlisten?.()
    this.#cancelTimer?.()
  }

  heard(events: readonly StoredEvent[]): void {
    const sequencer = this.#sequencer
    const last = events.at(-1)?.offset ?? 0
    if (sequencer === undefined || this.#handing !== undefined) return this.headHeard(last)
    this.#hand(events.flatMap((event) => sequencer.accept(toItem(event))))
    this.#watchGap()
  }

  headHeard(head: number): void {
    this.#heardHead = Math.max(this.#heardHead, head)
    this.#sequencer?.expect(head)
    this.#watchGap()
  }

  headRead(head: number, positionBefore: number): void {
    if (this.#sequencer === undefined) return
    if (head < positionBefore) this.#replaced('the head of a channel went back')
    else this.headHeard(head)
  }

  #replaced(reason: string): void {
    const { log, channel } = this.#options
    log.history.replaced(`${reason}: ${channel}`)
  }

  #startOver(): void {
    if (this.#isClosed) return
    this.#history += 1
    this.#sequencer = undefined
    this.#heardHead = 0
    // The position of another history: its epoch is none of the new one.
    this.#from ??= { offset: 0, epoch: 'another history' }
    detach(this.#open(this.#history, firstRetryMs), this.#options.logger, 'following another history')
  }

  /** Finds where to begin. */
  async #open(history: number, retryMs: number): Promise<void> {
    const { log, channel, logger } = this.#options
    try {
      const { head, epoch } = await log.headOf(channel)
      if (this.#isClosed || history !== this.#history) return
      this.#begin({ offset: head, epoch })
    } catch (error) {
      if (this.#isClosed || history !== this.#history) return
      logger.warn({ channel, error: messageOf(error), retryMs }, 'a channel is not followed; trying again')
      this.#later(retryMs, () => this.#open(history, nextRetry(retryMs)))
    }
  }

  #begin(head: StreamPosition): void {
    const from = this.#from
    const isKnown = from !== undefined && from.epoch === head.epoch && from.offset <= head.offset
    const position = isKnown ? from.offset : head.offset
    this.#sequencer = new OffsetSequencer<Item>(position, bounds)
    this.#from = undefined
    if (from !== undefined && !isKnown) this.#options.reset(head)
    this.#sequencer.expect(Math.max(head.offset, this.#heardHead))
    if (this.#sequencer.hasGap)
      detach(this.#fill(firstRetryMs), this.#options.logger, 'reading a followed channel')
  }

  /** Hands events over; what comes until a promise has settled is read from the log then. */
  #hand(items: readonly Item[]): void {
    if (items.length === 0 || this.#isClosed) return
    const taken = this.#options.hear(items.map(({ event }) => event))
    if (!isPromise(taken)) return
    this.#handing = this.#whenTaken(taken as Promise<void>)
    detach(this.#handing, this.#options.logger, 'a follower of a channel')
  }

  async #whenTaken(taken: Promise<void>): Promise<void> {
    try {
      await taken
    } finally {
      this.#handing = undefined
      this.#watchGap()
    }
  }

  #watchGap(): void {
    if (this.#sequencer?.hasGap !== true || this.#isFilling || this.#handing !== undefined) return
    this.#later(this.#options.gapWaitMs ?? 25, () => this.#fill(firstRetryMs))
  }

  /** Sets the timer. Later calls share the running one. */
  #later(waitMs: number, work: () => Promise<void>): void {
    if (this.#isClosed) return
    this.#cancelTimer ??= this.#options.clock.after(waitMs, () => {
      this.#cancelTimer = undefined
      detach(work(), this.#options.logger, 'reading a followed channel')
    })
  }

  async #fill(retryMs: number): Promise<void> {
    const { logger, channel } = this.#options
    const history = this.#history
    if (this.#isFilling) return
    this.#isFilling = true
    try {
      while (this.#sequencer?.hasGap === true && !this.#isClosed && history === this.#history) {
        if (!(await this.#readPage(this.#sequencer, history))) break
      }
    } catch (error) {
      if (this.#isClosed || history !== this.#history) return
      logger.warn(
        { channel, error: messageOf(error), retryMs },
        'a followed channel was not read; trying again',
      )
      this.#later(retryMs, () => this.#fill(nextRetry(retryMs)))
    } finally {
      this.#isFilling = false
    }
    this.#watchGap()
  }

  /** @returns false where another history has taken the place of this one */
  async #readPage(sequencer: OffsetSequencer<Item>, history: number): Promise<boolean> {
    const { log, channel } = this.#options
    const { position } = sequencer
    const page = await log.readAfter(channel, position, limits.recoveryPage)
    const head = page.length === 0 ? await log.headOf(channel) : undefined
    // Events that were heard meanwhile may have moved it on: then the next page is read from there.
    if (this.#isClosed || history !== this.#history || sequencer.position !== position) return true
    if (head !== undefined && head.head < position) {
      this.#replaced('the head of a channel went back')
      return false
    }
    const [first] = page
    const before = first === undefined ? (head?.head ?? position) : first.offset - 1
    if (before > position) this.#options.reset({ offset: before, epoch: log.history.epoch })
    if (first === undefined) this.#heardHead = before
    if (first === undefined || before > position) sequencer.restart(before)
    this.#hand(page.flatMap((event) => sequencer.accept(toItem(event))))
    // Wait for a slow hearer before the next page is read.
    await this.#handing
    sequencer.expect(this.#heardHead)
    return true
  }
}

function toItem(event: StoredEvent): Item {
  return { offset: event.offset, bytes: bytesOfEvent(event), event }
}

function nextRetry(retryMs: number): number {
  return Math.min(retryMs * 2, longestRetryMs)
}

import { touchedEvent, type DraftPush } from '../protocol/index.ts'
import { bytesOfEvent, type StoredEvent } from '../log/index.ts'

/** Tags that the server adds to the live push of an event, besides the event itself. */
export type PublicationTags = Readonly<Record<string, string>>

/** An event of the log as it goes to the subscribers of its channel: one object for all of them. */
export class FeedEvent {
  readonly channel: string
  readonly offset: number
  readonly type: string
  readonly operationId: string
  /** JSON text. */
  readonly data: string
  readonly at: Date
  /** Bytes of its publication in UTF-8, about. */
  readonly bytes: number
  /** Template such as `conversation:{id}`; set where the event carries the context of a trace. */
  readonly template: string | undefined
  readonly tags: PublicationTags | undefined
  /** True for an event read from the log, where nothing is seen before its commit. */
  readonly wasRead: boolean
  /** Set by `DeliveryRecorder` when the first socket was handed the event. */
  wasHanded = false
  /** Number of offsets right before it whose entries no subscriber is shown. */
  skipped = 0
  /** Encoded forms of the event by the name of their codec, kept here by the sender for all subscribers. */
  forms: object | undefined

  /**
   * @param tags go along with the live push alone: what is recovered later is the event as the log holds it
   */
  constructor(event: StoredEvent, tags?: PublicationTags, wasRead = false) {
    this.channel = event.channel
    this.offset = event.offset
    this.type = event.type
    this.operationId = event.operationId
    this.data = event.data
    this.at = event.at
    this.bytes = bytesOfEvent(event)
    this.template = event.traceparent === undefined ? undefined : event.template
    this.tags = tags
    this.wasRead = wasRead
    this.forms = undefined
  }

  /** Has its place in the order, and is shown to nobody. */
  get isHidden(): boolean {
    return this.type === touchedEvent
  }

  /** Notes hidden entries right before it, before it is sent. */
  followsHidden(count: number): void {
    if (count <= this.skipped) return
    this.skipped = count
    this.forms = undefined
  }

  /** Time at which the flush of its transaction ran, by the database's clock, in milliseconds since the epoch. */
  get flushedAt(): number {
    return this.at.getTime()
  }
}

/** An event that was read from the log, and so had committed. */
export function fromLog(event: StoredEvent): FeedEvent {
  return new FeedEvent(event, undefined, true)
}

/**
 * Leaves out the hidden ones among events that follow each other, and notes how many of them stood before the next.
 * @param hidden how many stood right before the first
 * @returns the events that are shown, and how many hidden ones stand behind the last of them
 */
export function shownOf(
  events: readonly FeedEvent[],
  hidden = 0,
): { readonly shown: readonly FeedEvent[]; readonly hidden: number } {
  if (hidden === 0 && !events.some(({ isHidden }) => isHidden)) return { shown: events, hidden }
  const shown: FeedEvent[] = []
  for (const event of events) {
    if (event.isHidden) {
      hidden += 1
      continue
    }
    event.followsHidden(hidden)
    shown.push(event)
    hidden = 0
  }
  return { shown, hidden }
}

/** A push without an offset, shown before, or instead of, the events that the log will hold. */
export interface TransientEvent {
  readonly channel: string
  readonly type: string
  readonly operationId: string
  /** Id of the operation's user, where it is known. Not shown to anyone. */
  readonly userId?: string | undefined
  /** JSON text. */
  readonly data: string
  readonly at: Date
  /** Parsed form of a draft push, set by the feed that has put it in order. */
  readonly push?: DraftPush
  /** Stack of the call that sent it, for the search for premature events; never leaves this process. */
  readonly stack?: string
}

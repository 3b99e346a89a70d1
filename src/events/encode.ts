import type { EncodedEvent, PublicationTags, TransientPush } from './subscription.ts'

/** An event as the log holds it. */
export interface StoredEvent {
  readonly channel: string
  readonly offset: number
  readonly operationId: string
  readonly type: string
  /** JSON text. */
  readonly data: string
  readonly at: Date
  /** Such as `conversation:{id}`; names spans. */
  readonly template?: string
  /** W3C `traceparent` of the span that sent it. Never stored: an event of the log has none. */
  readonly traceparent?: string
}

/**
 * Encodes an event for the wire, once for all of its subscribers. Tags go along with the live push alone: what is
 * recovered later is the event as the log holds it.
 */
export function encodeEvent(event: StoredEvent, tags?: PublicationTags): EncodedEvent {
  const fields = `"data":${envelopeOf(event)},"offset":${event.offset}`
  const publication = `{${fields}}`
  const live = tags === undefined ? publication : `{${fields},"tags":${JSON.stringify(tags)}}`
  return {
    channel: event.channel,
    offset: event.offset,
    type: event.type,
    operationId: event.operationId,
    flushedAt: event.at.getTime(),
    publication,
    push: `{"push":{"channel":${JSON.stringify(event.channel)},"pub":${live}}}`,
    wasHanded: false,
    ...(tags === undefined ? {} : { tags }),
    ...(event.traceparent === undefined || event.template === undefined ? {} : { template: event.template }),
  }
}

/** An event that was read from the log, and so had committed. */
export function encodeLoggedEvent(event: StoredEvent): EncodedEvent {
  return { ...encodeEvent(event), wasRead: true }
}

/** Something shown before, or instead of, what the log will hold. */
export interface TransientEvent {
  readonly channel: string
  readonly type: string
  readonly operationId: string
  /** Whose operation it is, where that is known. Not shown to anyone. */
  readonly userId?: string | undefined
  /** JSON text. */
  readonly data: string
  readonly at: Date
  /** Where it was sent from, for those who look for what comes too early; never leaves this process. */
  readonly stack?: string
}

/** The push of an event without an offset. */
export function encodeTransient(event: TransientEvent): TransientPush {
  const { channel, type, operationId, userId, stack } = event
  const push = `{"push":{"channel":${JSON.stringify(channel)},"pub":{"data":${envelopeOf(event)}}}}`
  return { channel, type, operationId, userId, push, ...(stack === undefined ? {} : { stack }) }
}

function envelopeOf(event: Omit<TransientEvent, 'channel' | 'stack'>): string {
  return (
    `{"type":${JSON.stringify(event.type)},"data":${event.data},` +
    `"operationId":"${event.operationId}","at":"${event.at.toISOString()}"}`
  )
}

import type { EncodedEvent } from './subscription.ts'

/** An event as the log holds it. */
export interface StoredEvent {
  readonly channel: string
  readonly offset: number
  readonly operationId: string
  readonly type: string
  /** JSON text. */
  readonly data: string
  readonly at: Date
}

/** Encodes an event for the wire, once for all of its subscribers. */
export function encodeEvent(event: StoredEvent): EncodedEvent {
  const envelope =
    `{"type":${JSON.stringify(event.type)},"data":${event.data},` +
    `"operationId":"${event.operationId}","at":"${event.at.toISOString()}"}`
  const publication = `{"data":${envelope},"offset":${event.offset}}`
  return {
    channel: event.channel,
    offset: event.offset,
    type: event.type,
    operationId: event.operationId,
    publication,
    push: `{"push":{"channel":${JSON.stringify(event.channel)},"pub":${publication}}}`,
  }
}

/** Something shown before, or instead of, what the log will hold. */
export interface TransientEvent {
  readonly type: string
  readonly operationId: string
  readonly data: unknown
  readonly at: Date
}

/** The push of an event without an offset. */
export function encodeTransient(channel: string, event: TransientEvent): string {
  return JSON.stringify({ push: { channel, pub: { data: event } } })
}

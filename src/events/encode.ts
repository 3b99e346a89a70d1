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

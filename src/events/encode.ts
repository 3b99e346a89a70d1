import type { EncodedEvent, TransientPush } from './subscription.ts'

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
  const publication = `{"data":${envelopeOf(event)},"offset":${event.offset}}`
  return {
    channel: event.channel,
    offset: event.offset,
    type: event.type,
    operationId: event.operationId,
    flushedAt: event.at.getTime(),
    publication,
    push: `{"push":{"channel":${JSON.stringify(event.channel)},"pub":${publication}}}`,
  }
}

/** Something shown before, or instead of, what the log will hold. */
export interface TransientEvent {
  readonly channel: string
  readonly type: string
  readonly operationId: string
  /** JSON text. */
  readonly data: string
  readonly at: Date
  /** Where it was sent from, for those who look for what comes too early; never leaves this process. */
  readonly stack?: string
}

/** The push of an event without an offset. */
export function encodeTransient(event: TransientEvent): TransientPush {
  const { channel, type, operationId, stack } = event
  const push = `{"push":{"channel":${JSON.stringify(channel)},"pub":{"data":${envelopeOf(event)}}}}`
  return { channel, type, operationId, push, ...(stack === undefined ? {} : { stack }) }
}

function envelopeOf(event: Omit<TransientEvent, 'channel' | 'stack'>): string {
  return (
    `{"type":${JSON.stringify(event.type)},"data":${event.data},` +
    `"operationId":"${event.operationId}","at":"${event.at.toISOString()}"}`
  )
}

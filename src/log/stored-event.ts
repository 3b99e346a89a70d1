/** An event as the log holds it. */
export interface StoredEvent {
  readonly channel: string
  readonly offset: number
  readonly operationId: string
  readonly type: string
  /** JSON text. */
  readonly data: string
  readonly at: Date
  /** Template such as `conversation:{id}`; names spans. */
  readonly template?: string
  /** W3C `traceparent` of the span that sent it. Never stored: an event of the log has none. */
  readonly traceparent?: string
}

/** Bytes of a publication beside its type and its data. */
const envelopeBytes = 140

/** Approximate bytes of an event in memory and on the wire. */
export function bytesOfEvent(event: Pick<StoredEvent, 'type' | 'data'>): number {
  return envelopeBytes + event.type.length + Buffer.byteLength(event.data)
}

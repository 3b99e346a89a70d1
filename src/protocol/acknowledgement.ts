/**
 * Key in a publication's `tags`: whoever handles the event may tell the server so. Its value is the share of the
 * receivers that should, from 0 to 1, as text.
 */
export const acknowledgeTag = 'ack'

/** Key in a publication's `tags`: W3C `traceparent` of the span that sent the event, where traces are recorded. */
export const traceparentTag = 'traceparent'

/** `heldMs`: milliseconds from the end of the client's listeners until this was sent, by the client's own clock. */
export type AcknowledgementEntry = readonly [channel: string, offset: number, heldMs: number]

/** The `data` of a `send` command that tells of events handled. */
export interface AcknowledgementMessage {
  /** Entries, at most `limits.maxAcknowledgements`. */
  readonly acks: readonly AcknowledgementEntry[]
}

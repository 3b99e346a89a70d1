/**
 * Bounds of the events that a node keeps in memory, and of the log that it reads at once. Bytes are those of an event's JSON text in
 * UTF-8; in memory a text takes up to four times as many, since it is kept as it travels and as it is recovered.
 */
export const eventBounds = {
  /** A page of the log ends with the event that reaches it, and holds one event at least. */
  pageBytes: 512 * 1024,
  /** Recent events of one channel; up to twice as many are kept before the older half is forgotten. */
  recentEvents: 100,
  /** Bytes of those events. The longest recovery, which is half of the gateway's `maxQueuedBytes`, fits in. */
  recentBytesPerChannel: 1024 * 1024,
  /** Recent events of all channels of a node. */
  recentBytes: 64 * 1024 * 1024,
  /** Offsets behind a hole, or before the head of a channel is known, whose events are kept. */
  heldEvents: 1_000,
  /** Bytes of the events that are kept. */
  heldBytes: 1024 * 1024,
  /** Events that are held back until the reply of a subscriber is written. */
  heldForReplyEvents: 3_000,
  /** Bytes of the events that are held back. */
  heldForReplyBytes: 1024 * 1024,
} as const

/** Turns this node's monotonic time into the database's, as far as it can be known from here. */
export interface DatabaseClock {
  /** Milliseconds since the epoch by the database's clock, at a moment of this node's monotonic clock. */
  toDatabaseMs(monotonicMs: number): number
  /** Milliseconds by which the answer may be wrong in either direction. */
  readonly errorMs: number
}

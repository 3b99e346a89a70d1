/** Largest command a client may send, in bytes of UTF-8. */
export const maxMessageBytes = 64 * 1024
/** Operations of one connection that have no outcome yet. */
export const maxOutstandingCalls = 1_000
/** Ids in one question for outcomes. */
export const maxOutcomeIds = 100

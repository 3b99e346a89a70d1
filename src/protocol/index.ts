/**
 * Room `protocol`: the wire contract. It knows what is sent and by which numbers; it refuses to know who sends
 * it, over what, or why. Imports nothing.
 */
export * from './acknowledgement.ts'
export * from './codes.ts'
export * from './envelopes.ts'
export * from './client-limits.ts'
export * from './coordination-events.ts'
export * from './drafts.ts'
export * from './limits.ts'
export * from './ongoing.ts'
export * from './outcome.ts'
export * from './retry-hint.ts'
export * from './run-reports.ts'
export * from './runs.ts'
export * from './touched.ts'
export * from './app.ts'

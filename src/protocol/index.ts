/**
 * Room `protocol`: the wire contract. It knows what is sent and by which numbers; it refuses to know who sends
 * it, over what, or why. Imports nothing.
 */
export * from './acknowledgement.ts'
export * from './codes.ts'
export * from './envelopes.ts'
export * from './limits.ts'
export * from './outcome.ts'
export * from './retry-hint.ts'
export * from './app.ts'

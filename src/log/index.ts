/**
 * Room `log`: the durable log: append, where a commit's events stand, pages, heads, its history, how long
 * it is kept. It refuses to know who listens.
 */
export { type StoredEvent, bytesOfEvent } from './stored-event.ts'
export { eventBounds } from './bounds.ts'
export { countByChannel, toStoredEvents, type EmittedCounts } from './committed-events.ts'
export { CountingAppender } from './counting-appender.ts'
export { createCountedLog, type CreateLog } from './create-log.ts'
export { EventLog } from './event-log.ts'
export { Follower, type FollowerOptions, type LogHints, type LogListener } from './follower.ts'
export type { Append, FoundCommit, Landed, Log, LogAppender, LogReader, Settled } from './log.ts'
export { Retention } from './retention.ts'

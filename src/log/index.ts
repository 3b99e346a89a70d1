/**
 * Room `log`: how the durable log is read: pages, heads, where the events of a commit stand, its history, how long it is kept. It refuses to know who listens.
 */
export { type StoredEvent, bytesOfEvent } from './stored-event.ts'
export { eventBounds } from './bounds.ts'
export { countByChannel, toStoredEvents, type EmittedCounts } from './committed-events.ts'
export { EventLog } from './event-log.ts'
export { readFoundEvents, type FoundCommit } from './found-commit.ts'
export { Retention } from './retention.ts'

/**
 * Room `events`: reads the log and keeps a channel's subscribers in offset order, without holes. It refuses to
 * know who subscribes, or over what.
 */
export { encodeEvent, type StoredEvent, type TransientEvent } from './encode.ts'
export { EventHub, type EventHubOptions, type InterestWatcher } from './event-hub.ts'
export { EventLog } from './event-log.ts'
export type { LogHistory } from './log-history.ts'
export { Retention, type RetentionOptions, type SweptTable } from './retention.ts'
export type {
  EncodedEvent,
  EventSource,
  Joined,
  JoinRequest,
  Subscriber,
  TransientPush,
} from './subscription.ts'

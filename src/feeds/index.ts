/**
 * Room `feeds`: keeps a channel's subscribers in the order of the log, without holes. It refuses to know who
 * subscribes, and over what.
 */
export { FeedEvent, type PublicationTags, type TransientEvent } from './feed-event.ts'
export { Deliveries, type DeliveriesOptions, type Publisher } from './deliveries.ts'
export { EventHub, type EventHubOptions, type InterestWatcher } from './event-hub.ts'
export type { EventSource, Joined, JoinRequest, Subscriber } from './event-source.ts'
export { OngoingReader } from './ongoing-reader.ts'
export type { OngoingSnapshot, OngoingSource } from './ongoing-source.ts'

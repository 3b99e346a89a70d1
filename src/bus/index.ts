/**
 * Room `bus`: carries fresh events between nodes. It knows brokers, and which channels somebody here listens to; it
 * refuses to be relied on: what it loses, repeats or reorders is put right from the log by `events`.
 */
export type { Bus, BusHealth, BusPort, ChannelHead } from './bus.ts'
export { memoryBus } from './memory-bus.ts'
export { natsBus, type NatsConnectionLike, type NatsStatuses } from './nats-bus.ts'
export { NodeBus, type NodeBusOptions } from './node-bus.ts'
export { postgresBus } from './postgres-bus.ts'
export { redisBus, type IoRedisClient, type NodeRedisClient, type RedisBusOptions } from './redis-bus.ts'
export type { BusOptions } from './sharded-bus.ts'

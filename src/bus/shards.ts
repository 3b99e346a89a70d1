import { fnv1a } from '../core/index.ts'

/**
 * Number of subjects that all channels of a database are spread over. Every node has to use the same. A node hears
 * the shards in which somebody there listens, so one with few subscribers hears little.
 */
const shardCount = 64

/** Numbers of the shards. */
export const shards: readonly number[] = Array.from({ length: shardCount }, (_, shard) => shard)

/** The shard of a channel, equal on every node. */
export function shardOf(channel: string): number {
  return fnv1a(channel) % shardCount
}

/**
 * Number of subjects that all channels of a database are spread over. Every node has to use the same. A node hears
 * the shards in which somebody there listens, so one with few subscribers hears little.
 */
const shardCount = 64

/** Their numbers. */
export const shards: readonly number[] = Array.from({ length: shardCount }, (_, shard) => shard)

/** The shard of a channel: FNV-1a over its UTF-16 code units, equal on every node. */
export function shardOf(channel: string): number {
  let hash = 0x811c9dc5
  for (let index = 0; index < channel.length; index++) {
    hash = Math.imul(hash ^ channel.charCodeAt(index), 0x01000193)
  }
  return (hash >>> 0) % shardCount
}

import type { Offsets, Queryable } from '../core/index.ts'
import type { StoredEvent } from '../events/index.ts'
import { readEvents, toEventRow, type PendingEvent } from '../postgres/index.ts'

export interface FoundCommit {
  readonly emitted: readonly PendingEvent[]
  readonly offsets: Offsets
}

/**
 * The events of an operation whose COMMIT was found out later: as the log has them, since the time that the flush gave them
 * was in the reply that was lost.
 */
export async function readFoundEvents(
  own: Queryable,
  schema: string,
  { emitted, offsets }: FoundCommit,
): Promise<readonly StoredEvent[]> {
  const events: StoredEvent[] = []
  for (const [channel, last] of offsets) {
    const count = emitted.filter((event) => event.channel === channel).length
    if (count === 0) continue
    const { rows } = await own.query(readEvents(schema, channel, last - count, count))
    events.push(...rows.map((row) => ({ channel, ...toEventRow(row) })))
  }
  return events
}

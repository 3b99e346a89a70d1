import type { Offsets, Queryable } from '../core/index.ts'
import { readEvents, toEventRow } from '../postgres/index.ts'
import { eventBounds } from './bounds.ts'
import type { EmittedCounts } from './committed-events.ts'
import type { StoredEvent } from './stored-event.ts'

export interface FoundCommit {
  readonly emitted: EmittedCounts
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
    for (let after = last - (emitted.get(channel) ?? 0); after < last;) {
      const page = { after, limit: last - after, maxBytes: eventBounds.pageBytes }
      const { rows } = await own.query(readEvents(schema, channel, page))
      for (const row of rows) {
        const event = { channel, ...toEventRow(row) }
        events.push(event)
        after = event.offset
      }
      // Removed meanwhile: subscribers find out by themselves.
      if (rows.length === 0) break
    }
  }
  return events
}

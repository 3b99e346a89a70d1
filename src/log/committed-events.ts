import type { FlushRow, PendingEvent } from '../postgres/index.ts'
import type { StoredEvent } from './stored-event.ts'

/** How many events an operation has emitted, by channel. */
export type EmittedCounts = ReadonlyMap<string, number>

export function countByChannel(events: readonly Pick<PendingEvent, 'channel'>[]): EmittedCounts {
  const counts = new Map<string, number>()
  for (const { channel } of events) counts.set(channel, (counts.get(channel) ?? 0) + 1)
  return counts
}

/**
 * The events of a committed operation with their offsets. The flush answers the last offset of each channel;
 * events of one operation stand together, in the order they were emitted.
 */
export function toStoredEvents(
  operationId: string,
  events: readonly PendingEvent[],
  flushed: FlushRow,
): readonly StoredEvent[] {
  const [only] = events
  if (only !== undefined && events.length === 1) {
    return [{ ...only, offset: flushed.offsets.get(only.channel) ?? 0, operationId, at: flushed.at }]
  }
  const last = new Map(flushed.offsets)
  const stored: StoredEvent[] = []
  for (const event of events.toReversed()) {
    const offset = last.get(event.channel) ?? 0
    last.set(event.channel, offset - 1)
    stored.push({ ...event, offset, operationId, at: flushed.at })
  }
  return stored.toReversed()
}

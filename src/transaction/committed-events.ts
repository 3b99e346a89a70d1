import type { StoredEvent } from '../events/index.ts'
import type { FlushRow, PendingEvent } from '../postgres/index.ts'

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

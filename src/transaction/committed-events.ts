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
  const counts = new Map<string, number>()
  for (const { channel } of events) counts.set(channel, (counts.get(channel) ?? 0) + 1)
  const next = new Map<string, number>()
  for (const [channel, count] of counts) {
    next.set(channel, Number(flushed.positions[channel]) - count + 1)
  }
  return events.map((event) => {
    const offset = next.get(event.channel) ?? 0
    next.set(event.channel, offset + 1)
    return { ...event, offset, operationId, at: flushed.at }
  })
}

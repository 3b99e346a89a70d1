import type { Queryable } from '../core/index.ts'
import {
  flushOperation,
  readEvents,
  readOperations,
  settleOperations,
  toEventRow,
  toFlushRow,
  toOperationRow,
  type OperationKey,
  type OperationRow,
  type PendingEvent,
  type SettlementRequest,
  type SettlementWaits,
  type SettleRow,
} from '../postgres/index.ts'
import { eventBounds } from './bounds.ts'
import { countByChannel, toStoredEvents } from './committed-events.ts'
import type { Append, FoundCommit, LogAppender, Settled } from './log.ts'
import type { StoredEvent } from './stored-event.ts'

/**
 * Appends with offsets that are counted inside the transaction, at the head of each channel: without holes and in commit
 * order, at the price that a channel takes one commit at a time.
 */
export class CountingAppender implements LogAppender {
  readonly #own: Queryable
  readonly #schema: string

  constructor(own: Queryable, schema: string) {
    this.#own = own
    this.#schema = schema
  }

  flush(key: OperationKey, result: string | null, events: readonly PendingEvent[]): Append {
    return {
      statement: flushOperation(this.#schema, key, result, events),
      get emitted() {
        return countByChannel(events)
      },
      landed: (row) => {
        const flushed = toFlushRow(row, events)
        return { offsets: flushed.offsets, events: toStoredEvents(key.id, events, flushed) }
      },
    }
  }

  async settle(
    settlements: readonly SettlementRequest[],
    waits: SettlementWaits,
  ): Promise<readonly (Settled | undefined)[]> {
    const { rows } = await this.#own.query<SettleRow>(settleOperations(this.#schema, settlements, waits))
    return settlements.map((settlement, index) => {
      const row = rows[index]
      return row && { ...row, events: settledEvents(settlement, row) }
    })
  }

  async outcomesOf(userId: string, ids: readonly string[]): Promise<readonly OperationRow[]> {
    const { rows } = await this.#own.query(readOperations(this.#schema, userId, ids))
    return rows.map(toOperationRow)
  }

  /** Reads them from the log, since the time that the flush gave them was in the reply that was lost. */
  async eventsOf({ emitted, offsets }: FoundCommit): Promise<readonly StoredEvent[]> {
    const events: StoredEvent[] = []
    for (const [channel, last] of offsets) {
      for (let after = last - (emitted.get(channel) ?? 0); after < last;) {
        const page = { after, limit: last - after, maxBytes: eventBounds.pageBytes }
        const { rows } = await this.#own.query(readEvents(this.#schema, channel, page))
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
}

/** The events of an operation that this settlement decided, as they stand in the log. */
function settledEvents(
  { key, events }: SettlementRequest,
  { offsets, withdrawn, at_ms: atMs }: SettleRow,
): readonly StoredEvent[] {
  if (atMs === null) return []
  const own = events.flatMap((event, index) => {
    const offset = offsets?.[index]
    return offset === undefined ? [] : [{ ...event, offset }]
  })
  const at = new Date(atMs)
  return [...own, ...(withdrawn ?? [])].map(({ channel, offset, type, data }) => ({
    channel,
    offset,
    operationId: key.id,
    type,
    data,
    at,
  }))
}

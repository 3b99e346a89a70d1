import type { Statement } from '../../core/index.ts'
import { msOf } from './milliseconds.ts'

export interface EventRow {
  readonly offset: number
  readonly operationId: string
  readonly type: string
  /** The JSON text that was emitted. */
  readonly data: string
  readonly at: Date
}

interface RawEventRow {
  readonly offset: number
  readonly operation_id: string
  readonly type: string
  readonly data: string
  readonly at_ms: number
}

/** Events of one channel after an offset, oldest first. */
export function readEvents(schema: string, channel: string, after: number, limit: number): Statement {
  return {
    text: `select "offset", operation_id, type, data::text as data, ${msOf('at')} as at_ms from ${schema}.events
           where channel = $1 and "offset" > $2 order by "offset" limit $3`,
    values: [channel, after, limit],
  }
}

export function toEventRow(row: unknown): EventRow {
  const raw = row as RawEventRow
  return {
    offset: raw.offset,
    operationId: raw.operation_id,
    type: raw.type,
    data: raw.data,
    at: new Date(raw.at_ms),
  }
}

/**
 * Removes expired events from a range of heap pages: a sweep over the table needs no index on the time, and so
 * costs nothing when events are written. Source: Postgres manual, TID range scans (since 14).
 */
export function trimEvents(schema: string, retentionMs: number, firstPage: number, pages: number): Statement {
  return {
    text: `delete from ${schema}.events
           where ctid >= format('(%s,0)', $1::bigint)::tid and ctid < format('(%s,0)', $2::bigint)::tid
             and at < clock_timestamp() - make_interval(secs => $3::float8)`,
    values: [firstPage, firstPage + pages, retentionMs / 1000],
  }
}

/** Heap pages of the table, to know where a sweep ends. */
export function eventPages(schema: string): Statement {
  return {
    text: `select (pg_relation_size('${schema}.events') / current_setting('block_size')::int)::int as pages`,
  }
}

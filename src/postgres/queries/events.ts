import type { Statement } from '../../core/index.ts'
import { msOf } from './milliseconds.ts'
import { prepared } from './prepared.ts'

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

/** Part of a channel's log. */
export interface EventPage {
  readonly after: number
  /** Events at most. */
  readonly limit: number
  /** Bytes of data from which on no event follows: a page holds one event at least. */
  readonly maxBytes: number
}

/**
 * Events of one channel after an offset, oldest first. One walk over the index; the data of what is beyond the page is not
 * sent, nor fetched from where large values are kept: its size is known without, unless it is compressed.
 */
export function readEvents(schema: string, channel: string, page: EventPage): Statement {
  return readPage(schema, [channel, page.after, page.limit, page.maxBytes])
}

const readPage = prepared(
  'read_events',
  (schema) => `select p."offset", p.operation_id, p.type, p.data::text as data, ${msOf('p.at')} as at_ms
    from (
      select e.*, sum(e.bytes) over (order by e."offset" rows unbounded preceding) as bytes_until
      from (
        select "offset", operation_id, type, data, at,
          case when pg_column_compression(data) is null then pg_column_size(data) else octet_length(data::text) end as bytes
        from ${schema}.events where channel = $1 and "offset" > $2 order by "offset" limit $3
      ) e
    ) p
    where p.bytes_until - p.bytes < $4
    order by p."offset"`,
)

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

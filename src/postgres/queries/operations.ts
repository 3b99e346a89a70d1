import { mutationPoint } from '../../protocol/mutation-point.ts'
import type { Notice } from '../../protocol/index.ts'
import { toOffsets, type Offsets, type Statement } from '../../core/index.ts'
import { prepared } from './prepared.ts'

export type OperationState = 'committed' | 'rolled_back'

/** Identity of an operation in the database. */
export interface OperationKey {
  readonly id: string
  readonly name: string
  readonly userId: string
  /** Lease of the process that runs it. */
  readonly node: string
  /** Digest of name and input, to tell a repeated operation from a reused id. */
  readonly inputHash: string
}

/** An event that waits for its transaction to commit. */
export interface PendingEvent {
  readonly channel: string
  /** Template such as `conversation:{id}`. */
  readonly template?: string
  readonly type: string
  /** JSON text of its data. */
  readonly data: string
}

export interface OperationRow {
  readonly id: string
  readonly name: string
  readonly userId: string
  readonly inputHash: string
  readonly state: OperationState
  /** JSON text. */
  readonly result: string | null
  readonly notice: Notice | null
  readonly offsets: Offsets
  /** Epoch of the history that the outcome stands in. */
  readonly epoch: string
}

/** Result of the flush: the last offset in each channel, and when it ran by the database's clock. */
export interface FlushRow {
  readonly offsets: Offsets
  readonly at: Date
}

/**
 * The flush: everything that makes the transaction an operation, in one statement, right before COMMIT. Its row is
 * read by `toFlushRow`.
 */
export function flushOperation(
  schema: string,
  key: OperationKey,
  result: string | null,
  events: readonly PendingEvent[],
): Statement {
  const outcome: unknown[] = [key.id, key.name, key.userId, key.node, key.inputHash, result]
  const [first] = events
  if (first !== undefined && events.length === 1) {
    outcome.push(first.channel, first.type, first.data)
    return flushEvent(schema, outcome)
  }
  const batch = groupByChannel(events)
  return flushEvents(schema, [
    ...outcome,
    batch.channels,
    batch.counts,
    batch.eventChannel,
    batch.eventRank,
    events.map((event) => event.type),
    events.map((event) => event.data),
  ])
}

const flushEvent = prepared(
  'flush_event',
  (schema) =>
    `select ${schema}.flush_event($1, $2, $3, $4, $5, $6::pg_catalog.text::pg_catalog.json, $7, $8,
      $9::pg_catalog.text::pg_catalog.json) as flushed`,
)

const flushEvents = prepared(
  'flush',
  (schema) => `select ${schema}.flush_operation($1, $2, $3, $4, $5, $6::pg_catalog.text::pg_catalog.json,
    $7::pg_catalog.text[], $8::int[], $9::int[], $10::int[], $11::pg_catalog.text[],
    $12::pg_catalog.text[]::pg_catalog.json[])::pg_catalog.text as flushed`,
)

/** @param events the events that were flushed */
export function toFlushRow(row: unknown, events: readonly PendingEvent[]): FlushRow {
  const { flushed } = row as { readonly flushed: string }
  if (flushed.startsWith('{')) {
    const { positions, at } = JSON.parse(flushed) as FlushedJson
    return { offsets: toOffsets(positions), at: new Date(at) }
  }
  const [offset, at] = flushed.split(' ')
  return { offsets: new Map([[events[0]?.channel ?? '', Number(offset)]]), at: new Date(Number(at)) }
}

interface FlushedJson {
  readonly positions: Readonly<Record<string, number>>
  /** Time in milliseconds since the epoch. */
  readonly at: number
}

/** Outcomes of one user's operations that stand. */
export function readOperations(schema: string, userId: string, ids: readonly string[]): Statement {
  const isOfUser = mutationPoint('outcome given to whoever asks') ? '$2::text is not null' : 'o.user_id = $2'
  return {
    text: `select o.id, o.name, o.user_id, o.input_hash, o.state, o.result::text as result, o.notice, o.positions,
             (select epoch from ${schema}.meta) as epoch
           from ${schema}.operations o where o.id = any($1::uuid[]) and ${isOfUser}`,
    values: [ids, userId],
  }
}

/** The lease under which an operation that has its outcome was run. */
export function readDecider(schema: string, { id, userId }: OperationKey): Statement {
  return {
    text: `select o.node from ${schema}.operations o where o.id = $1 and o.user_id = $2`,
    values: [id, userId],
  }
}

export function toOperationRow(row: unknown): OperationRow {
  const raw = row as {
    id: string
    name: string
    user_id: string
    input_hash: string
    state: OperationState
    result: string | null
    notice: Notice | null
    positions: Readonly<Record<string, number>> | null
    epoch: string
  }
  return {
    id: raw.id,
    name: raw.name,
    userId: raw.user_id,
    inputHash: raw.input_hash,
    state: raw.state,
    result: raw.result,
    notice: raw.notice,
    offsets: toOffsets(raw.positions),
    epoch: raw.epoch,
  }
}

/** How long rows of `operations` are kept, in milliseconds. */
export interface OperationRetention {
  readonly outcomesMs: number
  /** Time for which a closed id is kept: as long as a copy of its call may be on its way. */
  readonly closedIdsMs: number
}

/**
 * Removes outcomes from a range of heap pages, as `trimEvents` does for events; but none that an intent names, since
 * whoever settles what that node has left would take the operation for one without an outcome, and none whose rollback
 * events are still there, since they are removed because of it.
 */
export function trimOperations(
  schema: string,
  { outcomesMs, closedIdsMs }: OperationRetention,
  firstPage: number,
  pages: number,
): Statement {
  return {
    text: `delete from ${schema}.operations
           where ctid >= format('(%s,0)', $1::bigint)::tid and ctid < format('(%s,0)', $2::bigint)::tid
             and settled_at < clock_timestamp() -
               make_interval(secs => case when input_hash = '' then $4::float8 else $3::float8 end)
             and (id, user_id) not in (
               select k.id, k.user_id
               from ${schema}.intents i cross join lateral unnest(i.ids, i.user_ids) as k (id, user_id))
             and (id, user_id) not in (select e.operation_id, e.user_id from ${schema}.rollback_events e)`,
    values: [firstPage, firstPage + pages, outcomesMs / 1000, closedIdsMs / 1000],
  }
}

export function operationPages(schema: string): Statement {
  return {
    text: `select (pg_relation_size('${schema}.operations') / current_setting('block_size')::int)::int as pages`,
  }
}

/** Events by channel, as the functions of the database take them. */
export interface EventBatch {
  /** Channels in byte order, which is the order that their heads are locked in. */
  readonly channels: readonly string[]
  readonly counts: readonly number[]
  /** Place of each event's channel, from 1. */
  readonly eventChannel: readonly number[]
  /** Place of each event among its channel's events, from 1. */
  readonly eventRank: readonly number[]
}

export function groupByChannel(events: readonly PendingEvent[]): EventBatch {
  const counts = new Map<string, number>()
  const eventRank = events.map(({ channel }) => {
    const rank = (counts.get(channel) ?? 0) + 1
    counts.set(channel, rank)
    return rank
  })
  // Names are ASCII, so UTF-16 order is byte order.
  const channels = [...counts.keys()].toSorted()
  const places = new Map(channels.map((channel, index) => [channel, index + 1]))
  return {
    channels,
    counts: channels.map((channel) => counts.get(channel) ?? 0),
    eventChannel: events.map(({ channel }) => places.get(channel) ?? 0),
    eventRank,
  }
}

import type { Notice } from '../../protocol/index.ts'
import { coordinationEvents } from '../../protocol/index.ts'
import { userChannel, type Statement } from '../../core/index.ts'
import { preparedName } from './prepared-name.ts'

export type OperationState = 'started' | 'committed' | 'rolled_back'

/** What identifies an operation in the database. */
export interface OperationKey {
  readonly id: string
  readonly name: string
  readonly userId: string
  /** Process that runs it; only a flush by the same one can commit it. */
  readonly node: string
  /** Digest of name and input, to tell a repeated operation from a reused id. */
  readonly inputHash: string
}

/** An event that waits for its transaction to commit. */
export interface PendingEvent {
  readonly channel: string
  /** Such as `conversation:{id}`. */
  readonly template?: string
  readonly type: string
  /** JSON text of its data. */
  readonly data: string
}

export interface OperationRow {
  readonly id: string
  readonly name: string
  readonly userId: string
  readonly node: string | null
  readonly inputHash: string
  readonly state: OperationState
  /** JSON text. */
  readonly result: string | null
  readonly notice: Notice | null
  readonly positions: Readonly<Record<string, number>>
  /** Whether the lease of its node has run out, by the database's clock. */
  readonly orphaned: boolean
}

/** What the flush gives back: the last offset in each channel, and when it ran by the database's clock. */
export interface FlushRow {
  readonly positions: Readonly<Record<string, number>>
  readonly at: Date
}

export interface SettleRow {
  /** Whether this call decided the outcome. */
  readonly settled: boolean
  readonly state: OperationState
  readonly result: string | null
  readonly notice: Notice | null
  readonly positions: Readonly<Record<string, number>> | null
  /** Of the notice in the user's channel, when this call decided. */
  readonly offset: string | number | null
  readonly at: Date | null
  readonly user_id: string
  readonly input_hash: string
}

/** The flush: everything that makes the transaction an operation, in one statement, right before COMMIT. */
export function flushOperation(
  schema: string,
  key: OperationKey,
  intentWritten: boolean,
  result: string | null,
  events: readonly PendingEvent[],
): Statement {
  const batch = groupByChannel(events)
  return {
    name: preparedName('flush', schema),
    text: `select positions, at from ${schema}.flush_operation($1, $2, $3, $4, $5, $6, $7::text::json,
             $8::text[], $9::int[], $10::int[], $11::int[], $12::text[], $13::text[]::json[])`,
    values: [
      key.id,
      key.name,
      key.userId,
      key.node,
      key.inputHash,
      intentWritten,
      result,
      batch.channels,
      batch.counts,
      batch.eventChannel,
      batch.eventRank,
      events.map((event) => event.type),
      events.map((event) => event.data),
    ],
  }
}

/** Rolls back the outcome and appends the notice, if the operation is still open or was never heard of. */
export function settleOperation(
  schema: string,
  key: OperationKey,
  notice: Notice,
  lockTimeoutMs: number,
): Statement {
  return {
    text: `select settled, state, result::text as result, notice, positions, "offset", at, user_id, input_hash
           from ${schema}.settle_operation($1, $2, $3, $4, $5, $6, $7, $8::text::json, $9)`,
    values: [
      key.id,
      key.name,
      key.userId,
      key.node,
      key.inputHash,
      userChannel(key.userId),
      coordinationEvents.transactionRolledBack,
      JSON.stringify(notice),
      `${lockTimeoutMs}ms`,
    ],
  }
}

/** Rolls back the outcome as `settleOperation` does, and tells nobody. `notice` is what should have been told. */
export function settleSilently(
  schema: string,
  key: OperationKey,
  notice: Notice | undefined,
  lockTimeoutMs: number,
): Statement {
  return {
    text: `select settled, state, result::text as result, notice, positions, "offset", at, user_id, input_hash
           from ${schema}.settle_silently($1, $2, $3, $4, $5, $6::text::json, $7)`,
    values: [
      key.id,
      key.name,
      key.userId,
      key.node,
      key.inputHash,
      notice === undefined ? null : JSON.stringify(notice),
      `${lockTimeoutMs}ms`,
    ],
  }
}

/** Writes intents; answers the ids that were new. */
export function startOperations(schema: string, keys: readonly OperationKey[]): Statement {
  return {
    name: preparedName('start', schema),
    text: `select start_operations as id
           from ${schema}.start_operations($1::uuid[], $2::text[], $3::text[], $4::uuid[], $5::text[])`,
    values: [
      keys.map((key) => key.id),
      keys.map((key) => key.name),
      keys.map((key) => key.userId),
      keys.map((key) => key.node),
      keys.map((key) => key.inputHash),
    ],
  }
}

export function readOperations(schema: string, ids: readonly string[]): Statement {
  return {
    text: `${selectOperations(schema)} where o.id = any($1::uuid[])`,
    values: [ids],
  }
}

/** Open operations whose node's lease has run out, or whose node is unknown. */
export function readOrphans(schema: string, limit: number): Statement {
  return {
    text: `${selectOperations(schema)}
           where o.state = 'started' and (n.lease_until is null or n.lease_until < clock_timestamp())
           order by o.node limit $1`,
    values: [limit],
  }
}

/** Closes ids that were never accepted, so that a late copy is answered and cannot commit. No notice.
 * In the order of their ids, as intents are, so that the two never wait for each other in a circle. */
export function closeUnknownOperations(schema: string, ids: readonly string[], userId: string): Statement {
  return {
    text: `insert into ${schema}.operations (id, name, user_id, input_hash, state, settled_at)
           select id, '', $2, '', 'rolled_back', clock_timestamp() from unnest($1::uuid[]) as id order by id
           on conflict (id) do nothing returning id`,
    values: [ids, userId],
  }
}

export function toOperationRow(row: unknown): OperationRow {
  const raw = row as {
    id: string
    name: string
    user_id: string
    node: string | null
    input_hash: string
    state: OperationState
    result: string | null
    notice: Notice | null
    positions: Readonly<Record<string, number>> | null
    orphaned: boolean
  }
  return {
    id: raw.id,
    name: raw.name,
    userId: raw.user_id,
    node: raw.node,
    inputHash: raw.input_hash,
    state: raw.state,
    result: raw.result,
    notice: raw.notice,
    positions: raw.positions ?? {},
    orphaned: raw.orphaned,
  }
}

function selectOperations(schema: string): string {
  return `select o.id, o.name, o.user_id, o.node, o.input_hash, o.state, o.result::text as result, o.notice,
            o.positions, (n.lease_until is null or n.lease_until < clock_timestamp()) as orphaned
          from ${schema}.operations o left join ${schema}.nodes n on n.node = o.node`
}

/** Removes settled operations from a range of heap pages, as `trimEvents` does for events. */
export function trimOperations(
  schema: string,
  retentionMs: number,
  firstPage: number,
  pages: number,
): Statement {
  return {
    text: `delete from ${schema}.operations
           where ctid >= format('(%s,0)', $1::bigint)::tid and ctid < format('(%s,0)', $2::bigint)::tid
             and state <> 'started' and settled_at < clock_timestamp() - make_interval(secs => $3::float8)`,
    values: [firstPage, firstPage + pages, retentionMs / 1000],
  }
}

export function operationPages(schema: string): Statement {
  return {
    text: `select (pg_relation_size('${schema}.operations') / current_setting('block_size')::int)::int as pages`,
  }
}

interface Batch {
  /** In byte order, which is the order their heads are locked in. */
  readonly channels: readonly string[]
  readonly counts: readonly number[]
  /** For each event, the place of its channel, from 1. */
  readonly eventChannel: readonly number[]
  /** For each event, its place among its channel's events, from 1. */
  readonly eventRank: readonly number[]
}

function groupByChannel(events: readonly PendingEvent[]): Batch {
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

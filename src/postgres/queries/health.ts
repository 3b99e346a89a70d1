import { coordinationEvents } from '../../protocol/index.ts'
import type { OperationRef, Statement } from '../../core/index.ts'
import { msOf } from './milliseconds.ts'

/** Asks what the log says of something that a layer has shown. */
export interface LogQuestion {
  readonly operationId: string
  /** Whose operation it is. Null: not known. */
  readonly userId: string | null
  readonly channel: string | null
  readonly offset: number | null
}

export interface LogAnswerRow {
  /** Place of the question, from 1. */
  readonly place: number
  /** Null where the log does not know the operation. */
  readonly state: 'started' | 'committed' | 'rolled_back' | null
  readonly name: string | null
  readonly user_id: string | null
  readonly settled_ms: number | null
  /** True too where the question names no event. */
  readonly has_event: boolean
}

/**
 * One index lookup for each operation and each event that is named; what has no outcome is looked for in the intents. Of
 * several users' operations with one id, where it is not known whose is meant, the answer is for the one that has the
 * event, or else for the one that ended last: nobody hides what another user's does too early.
 */
export function askLog(schema: string, questions: readonly LogQuestion[]): Statement {
  return {
    text: `select q.place::int as place, coalesce(o.state, i.state) as state, coalesce(o.name, i.name) as name,
             coalesce(o.user_id, i.user_id) as user_id,
             ${msOf('o.settled_at')} as settled_ms,
             q.channel is null or exists (
               select from ${schema}.events e
               where e.channel = q.channel and e."offset" = q."offset" and e.operation_id = q.id
             ) as has_event
           from unnest($1::uuid[], $2::text[], $3::text[], $4::bigint[]) with ordinality
             as q (id, user_id, channel, "offset", place)
           left join lateral (
             select o.id, o.state, o.name, o.user_id, o.settled_at from ${schema}.operations o
             where o.id = q.id and (q.user_id is null or o.user_id = q.user_id)
             order by (o.positions ->> q.channel)::bigint >= q."offset" desc nulls last, o.settled_at desc limit 1
           ) o on true
           left join lateral (
             select 'started' as state, k.name, k.user_id
             from ${schema}.intents i cross join lateral unnest(i.ids, i.names, i.user_ids) as k (id, name, user_id)
             where o.id is null and k.id = q.id and (q.user_id is null or k.user_id = q.user_id) limit 1
           ) i on true`,
    values: [
      questions.map((question) => question.operationId),
      questions.map((question) => question.userId),
      questions.map((question) => question.channel),
      questions.map((question) => question.offset),
    ],
  }
}

/** A place in the order of settlement. */
export interface SettledCursor {
  /** Microseconds since the epoch: what the database tells apart. */
  readonly settledUs: number
  readonly id: string
}

export interface UntoldRow extends OperationRef {
  readonly name: string
  readonly settled_us: number
  /** False in the last row alone, which is the last operation that was looked at. */
  readonly untold: boolean
  readonly looked_at: number
}

/**
 * Rolled-back operations that must have a notice in the log and have none there. Looks at `limit` operations
 * settled after `after` and at least `graceMs` ago, oldest first, and at the last `depth` events of their users'
 * channels.
 */
export function findUntold(
  schema: string,
  options: {
    readonly after: SettledCursor
    readonly graceMs: number
    readonly limit: number
    readonly depth: number
  },
): Statement {
  const { after, graceMs, limit, depth } = options
  const micros = '(extract(epoch from d.settled_at) * 1000000)::bigint as settled_us'
  return {
    text: `with due as materialized (
             select o.id, o.name, o.user_id, 'user:' || o.user_id as channel, o.settled_at,
               o.name <> '' and o.notice is not null as must_be_told
             from ${schema}.operations o
             where o.state = 'rolled_back'
               and (o.settled_at, o.id)
                 > (timestamptz 'epoch' + $1::float8 * interval '1 microsecond', $2::uuid)
               and o.settled_at <= clock_timestamp() - make_interval(secs => $3::float8 / 1000)
             order by o.settled_at, o.id limit $4::int
           ), told as materialized (
             ${noticesIn(schema, '(select distinct d.channel from due d where d.must_be_told)', '$5', '$6')}
           )
           select d.id::text as id, d.user_id as "userId", d.name, ${micros}, true as untold, 0 as looked_at
           from due d
           where d.must_be_told and ${isUntold}
           union all
           select * from (
             select d.id::text, d.user_id, d.name, ${micros}, false, (select count(*)::int from due)
             from due d order by d.settled_at desc, d.id desc limit 1
           ) as last`,
    values: [after.settledUs, after.id, graceMs, limit, depth, coordinationEvents.transactionRolledBack],
  }
}

/** Of these operations, those whose notice stands nowhere in their users' channels. */
export function confirmUntold(schema: string, operations: readonly OperationRef[]): Statement {
  return {
    text: `with due as materialized (
             select u.id, u.user_id, 'user:' || u.user_id as channel
             from unnest($1::uuid[], $2::text[]) as u (id, user_id)
           ), told as materialized (
             ${noticesIn(schema, '(select distinct d.channel from due d)', 'null', '$3')}
           )
           select d.id::text as id, d.user_id as "userId" from due d where ${isUntold}`,
    values: [
      operations.map(({ id }) => id),
      operations.map(({ userId }) => userId),
      coordinationEvents.transactionRolledBack,
    ],
  }
}

/** Of `due`, by `told`: the channel says whose operation a notice is of. */
const isUntold = 'not exists (select from told t where t.operation_id = d.id and t.channel = d.channel)'

// The limit keeps the planner from joining the whole of `events`: each channel is read by its index, newest first.
function noticesIn(schema: string, channels: string, depth: string, type: string): string {
  return `select e.operation_id, u.channel from ${channels} u
             cross join lateral (
               select e.operation_id, e.type from ${schema}.events e
               where e.channel = u.channel order by e."offset" desc limit ${depth}::bigint
             ) e
             where e.type = ${type}`
}

export interface ViolationRow {
  readonly operation_id: string
  /** Empty where that is not known. */
  readonly user_id: string
  readonly kind: string
  readonly node: string
  readonly operation: string | null
  readonly layers: readonly string[]
  readonly at_ms: number
  readonly gap_ms: number | null
  readonly detail: string
  readonly stack: string | null
}

/**
 * Stores violations; answers those that nobody had stored before, also when they are sent again because the reply was
 * lost: what has the same finder and time is the same finding.
 */
export function insertViolations(schema: string, rows: readonly ViolationRow[]): Statement {
  return {
    text: `insert into ${schema}.health_violations as known
             (operation_id, user_id, kind, node, operation, layers, at, gap_ms, detail, stack)
           select distinct on (v.operation_id, v.user_id, v.kind) v.operation_id, v.user_id, v.kind, v.node,
             v.operation, v.layers, to_timestamp(v.at_ms / 1000), v.gap_ms, v.detail, v.stack
           from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[]::json[], $7::float8[],
             $8::float8[], $9::text[], $10::text[]) with ordinality
             as v (operation_id, user_id, kind, node, operation, layers, at_ms, gap_ms, detail, stack, place)
           order by v.operation_id, v.user_id, v.kind, v.place
           on conflict (operation_id, user_id, kind) do update set node = excluded.node
             where known.node = excluded.node and known.at = excluded.at
           returning operation_id, user_id, kind`,
    values: [
      rows.map((row) => row.operation_id),
      rows.map((row) => row.user_id),
      rows.map((row) => row.kind),
      rows.map((row) => row.node),
      rows.map((row) => row.operation),
      rows.map((row) => JSON.stringify(row.layers)),
      rows.map((row) => row.at_ms),
      rows.map((row) => row.gap_ms),
      rows.map((row) => row.detail),
      rows.map((row) => row.stack),
    ],
  }
}

/** The newest first. */
export function readViolations(schema: string, limit: number): Statement {
  return {
    text: `select operation_id, user_id, kind, node, operation, layers,
             ${msOf('at')} as at_ms, gap_ms::numeric as gap_ms, detail, stack
           from ${schema}.health_violations order by found_at desc limit $1`,
    values: [limit],
  }
}

export interface RollUpRow {
  readonly id: string
  readonly node: string
  readonly at_ms: number
  readonly operations: number
  readonly breaches: readonly string[]
  readonly breaches_beyond: number
  readonly unwatched: number
  readonly not_stored: number
  readonly gaps: Readonly<Record<string, unknown>>
  readonly violations: Readonly<Record<string, number>>
  readonly gauges: Readonly<Record<string, unknown>>
}

/** Once for each id, however often it is sent. */
export function insertRollUp(schema: string, row: RollUpRow): Statement {
  return {
    text: `insert into ${schema}.health_rollups
             (id, node, at, operations, breaches, breaches_beyond, unwatched, not_stored, gaps, violations, gauges)
           values ($1, $2, to_timestamp($3::float8 / 1000), $4, $5::text[], $6, $7, $8, $9::text::json,
             $10::text::json, $11::text::json)
           on conflict (id) do nothing`,
    values: [
      row.id,
      row.node,
      row.at_ms,
      row.operations,
      row.breaches,
      row.breaches_beyond,
      row.unwatched,
      row.not_stored,
      JSON.stringify(row.gaps),
      JSON.stringify(row.violations),
      JSON.stringify(row.gauges),
    ],
  }
}

export interface ReadRollUpRow extends RollUpRow {
  readonly written_ms: number
}

/** Those written after a moment, by the database's clock, in the order they were written. */
export function readRollUps(schema: string, writtenAfterMs: number, limit: number): Statement {
  return {
    text: `select id::text as id, node, ${msOf('at')} as at_ms,
             ${msOf('written_at')} as written_ms, operations,
             to_json(breaches) as breaches, breaches_beyond, unwatched, not_stored, gaps, violations, gauges
           from ${schema}.health_rollups where written_at > to_timestamp($1::float8 / 1000)
           order by written_at limit $2`,
    values: [writtenAfterMs, limit],
  }
}

/** Removes what is older than its time; `health_alerts` has one row for each alert. */
export function trimHealth(schema: string, retentionMs: number): readonly Statement[] {
  const values = [retentionMs / 1000]
  const old = 'clock_timestamp() - make_interval(secs => $1::float8)'
  return [
    { text: `delete from ${schema}.health_rollups where written_at < ${old}`, values },
    { text: `delete from ${schema}.health_violations where found_at < ${old}`, values },
  ]
}

export interface AlertRow {
  readonly state: 'ok' | 'firing'
  readonly since_ms: number
  /** That moved it there. */
  readonly node: string
}

export function readAlert(schema: string, name: string): Statement {
  return {
    text: `select state, ${msOf('since')} as since_ms, node
           from ${schema}.health_alerts where name = $1`,
    values: [name],
  }
}

/** Moves an alert to a state; a row comes back for the one node that moved it. An alert without a row is ok. */
export function moveAlert(
  schema: string,
  move: {
    readonly name: string
    readonly state: 'ok' | 'firing'
    readonly score: number
    readonly node: string
  },
): Statement {
  return {
    text: `insert into ${schema}.health_alerts as a (name, state, score, node)
           select $1, $2, $3, $4 where $2 = 'firing' or exists (
             select from ${schema}.health_alerts where name = $1)
           on conflict (name) do update
             set state = excluded.state, since = excluded.since, score = excluded.score, node = excluded.node
             where a.state <> excluded.state
           returning state, ${msOf('since')} as since_ms, node`,
    values: [move.name, move.state, move.score, move.node],
  }
}

export interface NodeRow {
  readonly node: string
  /** Null: given back. */
  readonly lease_ms: number | null
  readonly started_ms: number
}

/** The newest first. */
export function readNodes(schema: string, limit: number): Statement {
  return {
    text: `select node::text as node, ${msOf('started_at')} as started_ms,
             case when isfinite(lease_until)
               then ${msOf('lease_until - clock_timestamp()')} end as lease_ms
           from ${schema}.nodes order by started_at desc limit $1`,
    values: [limit],
  }
}

export interface RollbackRow {
  readonly id: string
  readonly name: string
  readonly user_id: string
  readonly settled_ms: number
  readonly told: boolean
  readonly notice: { readonly userMessage?: string }
}

/** Rolled-back operations whose user is to be told, the newest first; `told`: the notice is in the log. */
export function readRollbacks(schema: string, sinceMs: number, limit: number): Statement {
  return {
    text: `select o.id::text as id, o.name, o.user_id, o.notice,
             ${msOf('o.settled_at')} as settled_ms,
             coalesce((
               select true from ${schema}.events e where e.channel = 'user:' || o.user_id
                 and e.operation_id = o.id and e.type = $3
               order by e."offset" desc limit 1), false) as told
           from ${schema}.operations o
           where o.state = 'rolled_back' and o.settled_at > to_timestamp($1::float8 / 1000)
             and o.name <> '' and o.notice is not null
           order by o.settled_at desc limit $2`,
    values: [sinceMs, limit, coordinationEvents.transactionRolledBack],
  }
}

export function countRollbacks(schema: string, sinceMs: number): Statement {
  return {
    text: `select count(*)::int as count from ${schema}.operations o
           where o.state = 'rolled_back' and o.settled_at > to_timestamp($1::float8 / 1000)
             and o.name <> '' and o.notice is not null`,
    values: [sinceMs],
  }
}

import { coordinationEvents } from '../../protocol/index.ts'
import type { Statement } from '../../core/index.ts'
import { msOf } from './milliseconds.ts'

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

/** Inserts a roll-up once for each id, however often it is sent. */
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

/** Reads the roll-ups written after a moment, by the database's clock, in the order they were written. */
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
  /** Node that moved the alert to this state. */
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

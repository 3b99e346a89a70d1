import { coordinationEvents } from '../../protocol/index.ts'
import type { OperationRef, Statement } from '../../core/index.ts'
import { msOf } from './milliseconds.ts'

/** Asks what the log says of something that a layer has shown. */
export interface LogQuestion {
  readonly operationId: string
  /** Id of the operation's user. Null: not known. */
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
 * Looks up the outcome of each named operation or event, by one index lookup; where there is none, the intents are
 * searched. Several users may have operations with the same id: where the user is not known, the answer is for the one
 * that has the event, or else for the one that ended last, so that no user hides another user's premature event.
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

export interface MissingNoticeRow extends OperationRef {
  readonly name: string
  readonly settled_us: number
  /** False in the last row alone, which is the last operation that was looked at. */
  readonly isMissing: boolean
  readonly looked_at: number
}

/**
 * Rolled-back operations that must have a notice in the log and have none there. Looks at `limit` operations
 * settled after `after` and at least `graceMs` ago, oldest first, and at the last `depth` events of their users'
 * channels.
 */
export function findMissingNotices(
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
           select d.id::text as id, d.user_id as "userId", d.name, ${micros}, true as "isMissing", 0 as looked_at
           from due d
           where d.must_be_told and ${hasNoNotice}
           union all
           select * from (
             select d.id::text, d.user_id, d.name, ${micros}, false, (select count(*)::int from due)
             from due d order by d.settled_at desc, d.id desc limit 1
           ) as last`,
    values: [after.settledUs, after.id, graceMs, limit, depth, coordinationEvents.transactionRolledBack],
  }
}

/** Keeps, of these operations, those whose notice stands nowhere in their users' channels. */
export function confirmMissingNotices(schema: string, operations: readonly OperationRef[]): Statement {
  return {
    text: `with due as materialized (
             select u.id, u.user_id, 'user:' || u.user_id as channel
             from unnest($1::uuid[], $2::text[]) as u (id, user_id)
           ), told as materialized (
             ${noticesIn(schema, '(select distinct d.channel from due d)', 'null', '$3')}
           )
           select d.id::text as id, d.user_id as "userId" from due d where ${hasNoNotice}`,
    values: [
      operations.map(({ id }) => id),
      operations.map(({ userId }) => userId),
      coordinationEvents.transactionRolledBack,
    ],
  }
}

/** Condition on `due` and `told`: the channel says whose operation a notice is of. */
const hasNoNotice = 'not exists (select from told t where t.operation_id = d.id and t.channel = d.channel)'

// The limit keeps the planner from joining the whole of `events`: each channel is read by its index, newest first.
function noticesIn(schema: string, channels: string, depth: string, type: string): string {
  return `select e.operation_id, u.channel from ${channels} u
             cross join lateral (
               select e.operation_id, e.type from ${schema}.events e
               where e.channel = u.channel order by e."offset" desc limit ${depth}::bigint
             ) e
             where e.type = ${type}`
}

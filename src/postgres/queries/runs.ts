import type { Notice, RunState } from '../../protocol/index.ts'
import type { Statement, UserContext } from '../../core/index.ts'

/** A run that begins if its operation commits. */
export interface NewRun {
  readonly id: string
  readonly task: string
  readonly user: UserContext
  readonly channel: string
  /** JSON text; null where there is none. */
  readonly input: string | null
  readonly onNodeDeath: string
  /** Longest time that it may take, in milliseconds; null: any. */
  readonly timeoutMs: number | null
  readonly startAt: Date | undefined
}

export function insertRun(schema: string, run: NewRun): Statement {
  return {
    text: `insert into ${schema}.runs (id, task, user_id, started_by, channel, input, state, on_node_death, left_ms, not_before)
           values ($1::uuid, $2, $3, $4::pg_catalog.text::pg_catalog.json, $5, $6::pg_catalog.text::pg_catalog.json, 'pending', $7,
             $8::float8, coalesce($9::pg_catalog.timestamptz, pg_catalog.clock_timestamp()))`,
    values: [
      run.id,
      run.task,
      run.user.id,
      JSON.stringify(run.user),
      run.channel,
      run.input,
      run.onNodeDeath,
      run.timeoutMs,
      run.startAt?.toISOString() ?? null,
    ],
  }
}

/** A run as a node needs it to take it on. */
export interface RunRow {
  readonly id: string
  readonly task: string
  /** The user who started it, as JSON text. */
  readonly started_by: string
  readonly channel: string
  /** JSON text. */
  readonly input: string | null
  readonly state: RunState
  readonly attempt: number
  readonly deaths: number
  readonly on_node_death: 'retry' | 'keep' | 'fail'
  readonly is_stop_requested: boolean
  /** Rest of its time, in milliseconds; null where it has no limit. */
  readonly left_ms: number | null
  readonly node: string | null
  readonly is_owner_dead: boolean
}

const runRow = (schema: string): string => `r.id, r.task, r.started_by::text as started_by, r.channel,
             r.input::text as input, r.state, r.attempt, r.deaths, r.on_node_death,
             r.stop_requested_at is not null as is_stop_requested,
             coalesce(date_part('epoch', r.deadline - clock_timestamp()) * 1000, r.left_ms) as left_ms, r.node,
             ${isOwnerDead(schema)} as is_owner_dead`

const isOwnerDead = (schema: string): string => `(r.node is not null and not exists (
             select from ${schema}.nodes n where n.node = r.node and n.lease_until >= clock_timestamp()))`

/** Question of a node for runs that it may take on. */
export interface DueQuestion {
  readonly tasks: readonly string[]
  readonly limit: number
  /** Runs that are left out. */
  readonly except: readonly string[]
}

/** Runs that wait and are due, oldest first. */
export function readDueRuns(schema: string, { tasks, limit, except }: DueQuestion): Statement {
  return {
    text: `select ${runRow(schema)} from ${schema}.runs r
           where r.state = 'pending' and r.not_before <= clock_timestamp() and r.task = any($1::text[])
             and r.id <> all($3::uuid[])
           order by r.not_before limit $2`,
    values: [tasks, limit, except],
  }
}

/** Runs of nodes whose lease has run out. Goes through the leases, which are few, and not through the runs. */
export function readRunsOfDeadNodes(schema: string, { tasks, limit, except }: DueQuestion): Statement {
  return {
    text: `select ${runRow(schema)} from ${schema}.nodes dead
           join ${schema}.runs r on r.node = dead.node and r.state = 'running'
           where dead.lease_until < clock_timestamp() and r.task = any($1::text[]) and r.id <> all($3::uuid[])
           limit $2`,
    values: [tasks, limit, except],
  }
}

export interface NextLeaseRow {
  /** Time until the first of the leases that hold runs out, in milliseconds; null where there is none. */
  readonly in_ms: number | null
}

/** @param node the lease that is left out */
export function readNextLeaseEnd(schema: string, node: string): Statement {
  return {
    text: `select date_part('epoch', min(n.lease_until) - clock_timestamp()) * 1000 as in_ms from ${schema}.nodes n
           where n.lease_until >= clock_timestamp() and n.node <> $1::uuid`,
    values: [node],
  }
}

export function readRun(schema: string, id: string): Statement {
  return { text: `select ${runRow(schema)} from ${schema}.runs r where r.id = $1::uuid`, values: [id] }
}

/** The first statement of the flush of a stop. @throws SQLSTATE 40001 where the run is another than it was seen */
export function stopRun(
  schema: string,
  { id, state, attempt }: Pick<RunRow, 'id' | 'state' | 'attempt'>,
): Statement {
  return {
    text: `select ${schema}.stop_run($1::pg_catalog.uuid, $2::pg_catalog.text, $3::pg_catalog.int4)`,
    values: [id, state, attempt],
  }
}

/** How a run ended, or that it has not. */
export interface RunEndRow {
  readonly id: string
  readonly task: string
  readonly state: RunState
  /** JSON text. */
  readonly result: string | null
  readonly notice: Notice | null
}

export function readRunEnds(schema: string, ids: readonly string[]): Statement {
  return {
    text: `select r.id, r.task, r.state, r.result::text as result, r.notice from ${schema}.runs r
           where r.id = any($1::uuid[])`,
    values: [ids],
  }
}

/** Says that a node takes runs of these tasks on now. In the order of their names, so that two nodes wait in no circle. */
export function declareTasks(schema: string, tasks: readonly string[]): Statement {
  return {
    text: `insert into ${schema}.tasks as t (name, declared_at)
           select n.name, clock_timestamp() from unnest($1::text[]) as n (name) order by n.name collate "C"
           on conflict (name) do update set declared_at = excluded.declared_at`,
    values: [tasks],
  }
}

export interface UndeclaredRow {
  readonly task: string
  readonly runs: number
  /** Tasks that some node declares. */
  readonly declared: readonly string[]
}

/**
 * Tasks that no node has declared for so long, whose runs have been due for so long, or belong to a node that has been dead
 * for so long.
 */
export function readUndeclared(schema: string, forMs: number): Statement {
  return {
    text: `with declared as (
             select name from ${schema}.tasks where declared_at >= clock_timestamp() - make_interval(secs => $1::float8)
           ), due as (
             select r.task from ${schema}.runs r
             where r.state = 'pending' and r.not_before < clock_timestamp() - make_interval(secs => $1::float8)
             union all
             select r.task from ${schema}.nodes dead join ${schema}.runs r on r.node = dead.node and r.state = 'running'
             where dead.lease_until < clock_timestamp() - make_interval(secs => $1::float8)
           )
           select due.task, count(*)::int as runs,
             (select coalesce(json_agg(name order by name), '[]') from declared) as declared
           from due where due.task not in (select name from declared)
           group by due.task order by due.task`,
    values: [forMs / 1000],
  }
}

/** Removes runs that ended longer ago, with their steps, from a range of heap pages, as `trimEvents` does for events. */
export function trimRuns(schema: string, keptMs: number, firstPage: number, pages: number): Statement {
  const of = (table: string): string => `(delete from ${schema}.${table} t using gone where t.run = gone.id)`
  return {
    text: `with gone as (
             delete from ${schema}.runs
             where ctid >= format('(%s,0)', $1::bigint)::tid and ctid < format('(%s,0)', $2::bigint)::tid
               and ended_at < clock_timestamp() - make_interval(secs => $3::float8)
             returning id
           ), steps as ${of('run_steps')}, tries as ${of('run_tries')}
           delete from ${schema}.run_progress t using gone where t.run = gone.id`,
    values: [firstPage, firstPage + pages, keptMs / 1000],
  }
}

export function runPages(schema: string): Statement {
  return {
    text: `select (pg_relation_size('${schema}.runs') / current_setting('block_size')::int)::int as pages`,
  }
}

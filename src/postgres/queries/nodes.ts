import type { Statement } from '../../core/index.ts'
import { msOf } from './milliseconds.ts'

export interface LeaseRow {
  readonly epoch: string
  /** The database's clock, in milliseconds since the epoch. */
  readonly now_ms: number
  /** How often the lease has been renewed. */
  readonly renewals: string
  /** The server is another than the one that the epoch was made on. */
  readonly is_other: boolean
  /** Runs that the node has, as of this renewal. Absent in the answer to `registerNode`. */
  readonly open_runs?: readonly OwnedRun[]
}

/** A run that is running under a lease: its id, its attempt, and whether it is to stop. */
export interface OwnedRun {
  readonly id: string
  readonly attempt: number
  readonly stop: boolean
}

const answer = (
  schema: string,
): string => `(select epoch from ${schema}.meta) as epoch, renewals::text as renewals,
             ${schema}.is_other_history() as is_other,
             ${msOf('clock_timestamp()')} as now_ms`

const openRuns = (schema: string): string => `(
             select coalesce(json_agg(json_build_object('id', r.id, 'attempt', r.attempt,
               'stop', r.stop_requested_at is not null)), '[]')
             from ${schema}.runs r where r.node = $1 and r.state = 'running')`

/** Renews a node's lease, by the database's clock; no row back means that it had run out. Tells the runs that it has. */
export function renewLease(schema: string, node: string, leaseMs: number): Statement {
  return {
    text: `update ${schema}.nodes
           set lease_until = clock_timestamp() + make_interval(secs => $2::float8), renewals = renewals + 1
           where node = $1 and lease_until >= clock_timestamp()
           returning ${answer(schema)}, ${openRuns(schema)} as open_runs`,
    values: [node, leaseMs / 1000],
  }
}

/** Takes a lease for a node that has none; answers the epoch, as `renewLease` does. */
export function registerNode(schema: string, node: string, leaseMs: number): Statement {
  return {
    text: `insert into ${schema}.nodes (node, lease_until)
           values ($1, clock_timestamp() + make_interval(secs => $2::float8))
           returning ${answer(schema)}`,
    values: [node, leaseMs / 1000],
  }
}

/** Ends the lease at once, so that others need not wait for it to run out. */
export function releaseLease(schema: string, node: string): Statement {
  return {
    text: `update ${schema}.nodes set lease_until = '-infinity' where node = $1`,
    values: [node],
  }
}

/** Forgets nodes that have been dead for a day, and have left no intent and no run. */
export function forgetNodes(schema: string): Statement {
  return {
    text: `delete from ${schema}.nodes n
           where n.lease_until < clock_timestamp() - interval '1 day'
             and not exists (select from ${schema}.intents i where i.node = n.node)
             and not exists (select from ${schema}.runs r where r.node = n.node and r.state = 'running')`,
  }
}

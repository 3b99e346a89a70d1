import type { Statement } from '../../core/index.ts'
import { limits, type Notice, type RunState } from '../../protocol/index.ts'

/** An open run of a channel. */
export interface OpenRunRow {
  readonly id: string
  readonly task: string
  readonly user_id: string
  readonly state: RunState
  readonly attempt: number
  /** JSON text; null where there is none. */
  readonly progress: string | null
}

/** A run, for those who may look at it. */
export interface RunReportRow extends OpenRunRow {
  readonly channel: string
  /** JSON text; null where there is none. */
  readonly result: string | null
  readonly notice: Notice | null
  /** Committed steps, in their order. */
  readonly steps: readonly { readonly name: string; readonly at: string }[]
}

const openRun = 'r.id, r.task, r.user_id, r.state, r.attempt, p.value::text as progress'
const withProgress = (schema: string): string =>
  `${schema}.runs r left join ${schema}.run_progress p on p.run = r.id`

/** Runs of a channel that have not ended, the newest first. */
export function readOpenRuns(schema: string, channel: string): Statement {
  return {
    text: `select ${openRun} from ${withProgress(schema)}
           where r.channel = $1 and r.state in ('pending', 'running')
           order by r.created_at desc limit ${limits.maxListedRuns}`,
    values: [channel],
  }
}

export function readRunReport(schema: string, id: string): Statement {
  return {
    text: `select ${openRun}, r.channel, r.result::text as result, r.notice,
             coalesce((
               select json_agg(json_build_object('name', s.name, 'at',
                 to_char(s.committed_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')) order by s.place)
               from (
                 select t.name, t.committed_at, t.place from ${schema}.run_steps t
                 where t.run = r.id order by t.place desc limit ${limits.maxReportedSteps}
               ) s
             ), '[]') as steps
           from ${withProgress(schema)} where r.id = $1::uuid`,
    values: [id],
  }
}

import type { Statement } from '../../core/index.ts'
import { draftJson, isDraftOpen, type StoredDraftRow } from './drafts.ts'
import { prepared } from './prepared.ts'

export interface OngoingRow {
  readonly channel: string
  /** Head of the channel in the same snapshot. */
  readonly head: number
  readonly runs: readonly OngoingRunRow[] | null
  readonly drafts: readonly StoredDraftRow[] | null
}

export interface OngoingRunRow {
  readonly runId: string
  readonly task: string
  readonly state: string
  readonly attempt: number
  readonly startedBy: string
  readonly progress: unknown
}

/** Reads the open drafts and runs of these channels, and their heads in the same snapshot. @param most runs of one channel at most, the newest */
export function readOngoing(schema: string, channels: readonly string[], most: number): Statement {
  return read(schema, [channels, most])
}

const read = prepared(
  'ongoing',
  (schema) => `select w.channel, coalesce(c.head, 0)::int8 as head, (
             select json_agg(json_build_object('runId', r.id, 'task', r.task, 'state', r.state, 'attempt', r.attempt,
               'startedBy', r.user_id, 'progress', p.value) order by r.created_at, r.id)
             from (
               select r.* from ${schema}.runs r
               where r.channel = w.channel and r.state in ('pending', 'running')
               order by r.created_at desc limit $2::int
             ) r left join ${schema}.run_progress p on p.run = r.id
           ) as runs, (
             select json_agg(${draftJson(schema)} order by d.opened_at) from ${schema}.drafts d
             where d.channel = w.channel and ${isDraftOpen(schema)}
           ) as drafts
           from unnest($1::text[]) w (channel) left join ${schema}.channels c on c.channel = w.channel`,
)

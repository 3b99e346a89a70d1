import type { Statement } from '../../core/index.ts'
import type { Notice, RunState } from '../../protocol/index.ts'
import { msOf } from './milliseconds.ts'
import { groupByChannel, type PendingEvent } from './operations.ts'
import { prepared } from './prepared.ts'
import type { RunRow } from './runs.ts'
import type { WithdrawnEvent } from './settlements.ts'

/** A change of a run, if it still is as it was seen. */
export interface RunChangeRequest {
  /** Id of the change, by which a copy of it is known. */
  readonly operation: string
  readonly name: string
  readonly userId: string
  /** Lease of the node that asks for it. */
  readonly node: string
  readonly run: string
  readonly seen: Pick<RunRow, 'state' | 'attempt' | 'is_stop_requested' | 'node'>
  /** Takes the run on: needs the lease of `node`, and that of the run's owner, where it has one, to have run out. */
  readonly isClaim: boolean
  readonly state: RunState
  readonly attempt: number
  readonly deaths: number
  readonly pauseMs: number
  /** Notes that the run is to stop. */
  readonly isStop: boolean
  /** JSON text; null where there is none. */
  readonly result: string | null
  readonly failure: RunFailure | undefined
  readonly events: readonly PendingEvent[]
  /** Longest wait for a lock, in milliseconds. */
  readonly waitMs: number
  /** Last step that was seen committed. Where its row is missing, the history has lost it, and nothing is changed. */
  readonly lastStep?: string | undefined
}

/** The notice of a run that fails, and the operation that it stands for in the log. */
export interface RunFailure {
  readonly operation: string
  readonly notice: Notice
  readonly type: string
  /** The channel of the run's user. */
  readonly channel: string
}

/** Retraction that was appended when an attempt ended. */
export interface WithdrawnOfRun extends WithdrawnEvent {
  readonly operationId: string
  /** Milliseconds since the epoch. */
  readonly at: number
}

/** How a run stands after a change was asked for. */
export interface ChangedRow extends Pick<
  RunRow,
  'state' | 'attempt' | 'deaths' | 'is_stop_requested' | 'left_ms' | 'node'
> {
  /** False where the run had changed since it was read. */
  readonly is_changed: boolean
  readonly positions: Readonly<Record<string, number>> | null
  /** Offset of the notice, in the channel of the run's user. */
  readonly notice_offset: number | null
  /** Events that took back what steps of the attempt had shown. */
  readonly withdrawn: readonly WithdrawnOfRun[] | null
  readonly at_ms: number | null
}

/** No row where there is no such run. @throws LS_STATEMENT_TIMEOUT when a lock was held for longer than `waitMs` */
export function changeRun(schema: string, asked: RunChangeRequest): Statement {
  const { seen, events, failure } = asked
  const batch = groupByChannel(events)
  return change(schema, [
    asked.operation,
    asked.name,
    asked.userId,
    asked.node,
    asked.run,
    seen.state,
    seen.attempt,
    seen.is_stop_requested,
    seen.node,
    asked.isClaim,
    asked.state,
    asked.attempt,
    asked.deaths,
    asked.pauseMs,
    asked.isStop,
    asked.result,
    failure === undefined ? null : JSON.stringify(failure.notice),
    failure?.operation ?? null,
    failure?.type ?? null,
    failure?.channel ?? null,
    batch.channels,
    batch.counts,
    batch.eventChannel,
    batch.eventRank,
    events.map(({ type }) => type),
    events.map(({ data }) => data),
    asked.waitMs,
    asked.lastStep ?? null,
  ])
}

const change = prepared(
  'change_run',
  (schema) => `select c.is_changed, c.state, c.attempt, c.deaths, c.is_stop_requested, c.left_ms, c.node,
             c.positions, c.notice_offset, c.withdrawn, ${msOf('c.at')} as at_ms
           from ${schema}.change_run($1::uuid, $2, $3, $4::uuid, $5::uuid, $6, $7::int, $8::boolean, $9::uuid,
             $10::boolean, $11, $12::int, $13::int, $14::float8, $15::boolean, $16::text::json, $17::text::json,
             $18::uuid, $19, $20, $21::text[], $22::int[], $23::int[], $24::int[], $25::text[], $26::text[]::json[],
             $27::int, $28::text) c`,
)

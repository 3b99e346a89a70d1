// The rows and events of runs at the end, read past Lockstep. Times are milliseconds of the database's clock, which is that of
// the driver's machine.
import type pg from 'pg'
import type { RunState, RunStateData } from '../../src/protocol/index.ts'

export interface OracleRun {
  readonly id: string
  readonly state: RunState
  readonly attempt: number
  readonly stopRequestedAt: number | null
  readonly endedAt: number | null
}

export interface OracleStep {
  readonly run: string
  readonly name: string
  readonly committedAt: number
}

export interface OracleEffect {
  readonly run: string
  readonly step: string
  readonly attempt: number
  readonly stopped: boolean
}

export interface OracleRunEvent {
  readonly data: RunStateData
  readonly at: number
}

export interface RunOracle {
  readonly runs: readonly OracleRun[]
  /** Steps in the order of their flushes. */
  readonly steps: readonly OracleStep[]
  readonly effects: readonly OracleEffect[]
  /** Events in the order of their channel. */
  readonly events: readonly OracleRunEvent[]
  /** States of the operations that start, stop and commit them, by id. */
  readonly operations: ReadonlyMap<string, string>
}

export const noRuns: RunOracle = { runs: [], steps: [], effects: [], events: [], operations: new Map() }

const ms = (column: string): string => `(extract(epoch from ${column}) * 1000)::float8`

export async function readRunOracle(client: pg.ClientBase): Promise<Omit<RunOracle, 'operations'>> {
  const runs = await client.query<OracleRun>(
    `select id, state, attempt, ${ms('stop_requested_at')} as "stopRequestedAt", ${ms('ended_at')} as "endedAt"
     from lockstep.runs`,
  )
  const steps = await client.query<OracleStep>(
    `select run, name, ${ms('committed_at')} as "committedAt" from lockstep.run_steps order by place`,
  )
  const effects = await client.query<OracleEffect>('select run, step, attempt, stopped from job_effects')
  const events = await client.query<OracleRunEvent>(
    `select data, ${ms('at')} as at from lockstep.events where type = 'run.state' order by channel, "offset"`,
  )
  return { runs: runs.rows, steps: steps.rows, effects: effects.rows, events: events.rows }
}

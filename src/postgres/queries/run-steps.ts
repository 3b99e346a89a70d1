import type { Statement } from '../../core/index.ts'
import { prepared } from './prepared.ts'

/** A step that is about to commit, and what its attempt knows of its run. */
export interface StepEntry {
  readonly run: string
  readonly attempt: number
  /** Whether the step was told of a stop. */
  readonly isStopped: boolean
  /** The last step that this attempt has seen committed. */
  readonly lastStep: string | undefined
}

/** The first statement of a step's flush. @throws SQLSTATE LS003, LS004 */
export function enterStep(schema: string, { run, attempt, isStopped, lastStep }: StepEntry): Statement {
  return enter(schema, [run, attempt, isStopped, lastStep ?? null])
}

const enter = prepared(
  'enter_step',
  (schema) => `select ${schema}.enter_step($1::uuid, $2::int, $3::boolean, $4::pg_catalog.text)`,
)

/** @param result JSON text; null where there is none */
export function insertStep(
  schema: string,
  step: { readonly run: string; readonly name: string; readonly operation: string },
  result: string | null,
): Statement {
  return {
    text: `insert into ${schema}.run_steps (run, name, operation, result, committed_at)
           values ($1::uuid, $2, $3::uuid, $4::pg_catalog.text::pg_catalog.json,
             pg_catalog.clock_timestamp())`,
    values: [step.run, step.name, step.operation, result],
  }
}

export interface StepRow {
  readonly name: string
  /** JSON text. */
  readonly result: string | null
}

/** Committed steps of a run, in the order of their flushes. */
export function readSteps(schema: string, run: string): Statement {
  return {
    text: `select s.name, s.result::text as result from ${schema}.run_steps s where s.run = $1::uuid order by s.place`,
    values: [run],
  }
}

export function readStep(schema: string, run: string, name: string): Statement {
  return {
    text: `select s.name, s.result::text as result from ${schema}.run_steps s where s.run = $1::uuid and s.name = $2`,
    values: [run, name],
  }
}

export interface TriesRow {
  readonly name: string
  readonly thrown: number
  readonly error: string
}

/** Steps of a run that have thrown. */
export function readTries(schema: string, run: string): Statement {
  return {
    text: `select t.name, t.thrown, t.error from ${schema}.run_tries t where t.run = $1::uuid`,
    values: [run],
  }
}

/** Longest text of an error that is kept, in characters. */
const longestError = 4_000

/**
 * Counts that a step has thrown, while the run is this attempt's. Answers how often it has, or no row. The row of the run is
 * locked, so that no attempt counts once the next one has the run.
 */
export function noteThrow(
  schema: string,
  step: { readonly run: string; readonly attempt: number; readonly name: string; readonly error: string },
): Statement {
  return {
    text: `insert into ${schema}.run_tries as t (run, name, thrown, error)
           select r.id, $3, 1, $4 from ${schema}.runs r
           where r.id = $1::uuid and r.attempt = $2::int and r.state = 'running'
           for share
           on conflict (run, name) do update set thrown = t.thrown + 1, error = excluded.error
           returning thrown`,
    // Postgres keeps no U+0000 in a text, and would refuse this one each time.
    values: [step.run, step.attempt, step.name, step.error.slice(0, longestError).replaceAll('\0', '')],
  }
}

/** Keeps the newest progress of a run, while it is this attempt's. @param value JSON text */
export function saveProgress(schema: string, run: string, attempt: number, value: string): Statement {
  return {
    text: `insert into ${schema}.run_progress as p (run, attempt, value, at)
           select r.id, r.attempt, $3::text::json, clock_timestamp() from ${schema}.runs r
           where r.id = $1::uuid and r.attempt = $2::int and r.state = 'running'
             and set_config('synchronous_commit', 'off', true) = 'off'
           on conflict (run) do update set attempt = excluded.attempt, value = excluded.value, at = excluded.at
           where p.attempt <= excluded.attempt`,
    values: [run, attempt, value],
  }
}

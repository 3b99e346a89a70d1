import type { Statement } from '../../core/index.ts'
import { prepared } from './prepared.ts'

/** A step that is about to commit, and what its attempt knows of its run. */
export interface StepEntry {
  readonly run: string
  readonly attempt: number
  /** Lease under which the attempt was claimed. */
  readonly node: string
  /** Whether the step was told of a stop. */
  readonly isStopped: boolean
  /** The last step that this attempt has seen committed. */
  readonly lastStep: string | undefined
}

/** The first statement of a step's flush. @throws SQLSTATE LS003, LS004 */
export function enterStep(schema: string, entry: StepEntry): Statement {
  const { run, attempt, node, isStopped, lastStep } = entry
  return enter(schema, [run, attempt, node, isStopped, lastStep ?? null])
}

const enter = prepared(
  'enter_step',
  (schema) => `select ${schema}.enter_step($1::uuid, $2::int, $3::uuid, $4::boolean, $5::pg_catalog.text)`,
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

/** A step that has thrown. */
export interface StepThrow {
  readonly run: string
  readonly name: string
  readonly attempt: number
  readonly node: string
  /** How often it has thrown within this attempt, by which a copy of the note is known. */
  readonly throws: number
  readonly error: string
}

/**
 * Counts that a step has thrown, while the run is this attempt's. Answers how often it has, or no row. A copy, sent since the
 * answer was lost, counts nothing. The row of the run is locked, so that no attempt counts once the next one has the run.
 */
export function noteThrow(schema: string, { run, name, attempt, node, throws, error }: StepThrow): Statement {
  return {
    text: `insert into ${schema}.run_tries as t (run, name, thrown, attempt, throws, error)
           select r.id, $4, 1, r.attempt, $5::int, $6 from ${schema}.runs r
           where r.id = $1::uuid and r.attempt = $2::int and r.node = $3::uuid and r.state = 'running'
           for share
           on conflict (run, name) do update
           set thrown = t.thrown + case when (t.attempt, t.throws) = (excluded.attempt, excluded.throws) then 0 else 1 end,
             attempt = excluded.attempt, throws = excluded.throws, error = excluded.error
           returning thrown`,
    // Postgres keeps no U+0000 in a text, and would refuse this one each time.
    values: [run, attempt, node, name, throws, error.slice(0, longestError).replaceAll('\0', '')],
  }
}

/** Keeps the newest progress of a run, while it is this attempt's. @param value JSON text */
export function saveProgress(
  schema: string,
  { run, attempt, node }: Pick<StepEntry, 'run' | 'attempt' | 'node'>,
  value: string,
): Statement {
  return {
    text: `insert into ${schema}.run_progress as p (run, attempt, value, at)
           select r.id, r.attempt, $3::text::json, clock_timestamp() from ${schema}.runs r
           where r.id = $1::uuid and r.attempt = $2::int and r.node = $4::uuid and r.state = 'running'
             and set_config('synchronous_commit', 'off', true) = 'off'
           on conflict (run) do update set attempt = excluded.attempt, value = excluded.value, at = excluded.at
           where p.attempt <= excluded.attempt`,
    values: [run, attempt, value, node],
  }
}

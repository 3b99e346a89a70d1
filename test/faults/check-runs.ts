// Checks of runs: I15, their states, their steps and their stops, and I9, that no attempt writes once another one has its run.
import { isFinal, runArrows } from '../../src/runs/index.ts'
import { groupBy } from './check-log.ts'
import type { Violation } from './checker.ts'
import type { HistoryLine } from './history.ts'
import type { OracleEffect, OracleRun, OracleRunEvent, OracleStep, RunOracle } from './run-oracle.ts'

type JobLine = Extract<HistoryLine, { kind: 'job' }>

/** Facts of one run. */
interface Story {
  readonly run: OracleRun
  readonly steps: readonly OracleStep[]
  readonly effects: readonly OracleEffect[]
  readonly events: readonly OracleRunEvent[]
  /** The first acknowledgement of a stop. */
  readonly stop: JobLine | undefined
}

/** Times of events are cut to milliseconds. */
const eventSlackMs = 1

export function checkRuns(history: readonly HistoryLine[], oracle: RunOracle): readonly Violation[] {
  const jobs = history.filter((line) => line.kind === 'job')
  const [steps, effects] = [
    groupBy(oracle.steps, ({ run }) => run),
    groupBy(oracle.effects, ({ run }) => run),
  ]
  const events = groupBy(oracle.events, ({ data }) => data.runId)
  const stops = new Map<string, JobLine>()
  for (const line of jobs) if (line.what === 'stopped' && !stops.has(line.run)) stops.set(line.run, line)
  const known = new Set(oracle.runs.map(({ id }) => id))
  const found: Violation[] = jobs
    .filter((line) => !known.has(line.run))
    .map((line) => broken('a run was acknowledged, and is not there', line))
  for (const run of oracle.runs) {
    const { id } = run
    const story = {
      run,
      steps: steps.get(id) ?? [],
      effects: effects.get(id) ?? [],
      events: events.get(id) ?? [],
      stop: stops.get(id),
    }
    found.push(...ofStates(story), ...ofSteps(story), ...ofAttempts(story), ...ofStop(story))
  }
  for (const [run, left] of [...steps, ...effects])
    if (!known.has(run)) found.push(broken('a step stands whose run is not there', ...left))
  return found
}

/** States follow the arrows, the last event is that of the row, and in the end each run has ended. */
function ofStates({ run, events }: Story): readonly Violation[] {
  const found: Violation[] = []
  const states = events.map(({ data }) => data.state)
  if (states[0] !== 'pending')
    found.push(broken('the states of a run do not begin with pending', run, events[0]))
  for (const [index, state] of states.entries()) {
    const next = states[index + 1]
    if (next === undefined || Object.values(runArrows[state]).includes(next)) continue
    found.push(broken(`a run went from ${state} to ${next}`, events[index], events[index + 1]))
  }
  if (states.at(-1) !== run.state)
    found.push(
      broken(`the row of a run says ${run.state}, and its last event ${states.at(-1)}`, run, events.at(-1)),
    )
  if (!isFinal(run.state))
    found.push(broken(`a run is still ${run.state} after the recovery`, run, events.at(-1)))
  return found
}

/** The effect of each committed step stands once, and no other. A run that has completed has all of them. */
function ofSteps({ run, steps, effects }: Story): readonly Violation[] {
  const found: Violation[] = []
  const counts = groupBy(effects, ({ step }) => step)
  const names = new Set(steps.map(({ name }) => name))
  for (const name of new Set([...names, ...counts.keys()])) {
    const count = counts.get(name)?.length ?? 0
    const expected = names.has(name) ? 1 : 0
    if (count !== expected)
      found.push(
        broken(`the effect of a step stands ${count} times instead of ${expected}`, run, name, ...effects),
      )
  }
  return found
}

/** Finds steps that an attempt committed when another one had the run, or the run had ended. */
function ofAttempts({ run, steps, effects, events }: Story): readonly Violation[] {
  const found: Violation[] = []
  const claims = new Map(
    events.flatMap(({ data, at }) => (data.state === 'starting' ? [[data.attempt, at] as const] : [])),
  )
  for (const step of steps) {
    const effect = effects.find((one) => one.step === step.name)
    const taken = [...claims].find(([attempt]) => effect !== undefined && attempt > effect.attempt)
    if (taken !== undefined && step.committedAt > taken[1] + eventSlackMs) {
      const what = `attempt ${effect?.attempt} committed a step when attempt ${taken[0]} had the run`
      found.push({ rule: 'I9', what, witness: [step, effect, { claimedAt: taken[1] }] })
    }
    if (run.endedAt !== null && step.committedAt > run.endedAt)
      found.push(broken('a step was committed when its run had ended', run, step))
  }
  return found
}

/** Finds stops that were acknowledged and not kept: one step that was told of it may commit, and the run ends as cancelled. */
function ofStop({ run, steps, effects, stop }: Story): readonly Violation[] {
  const found: Violation[] = []
  const { stopRequestedAt, endedAt } = run
  if (stop !== undefined && stopRequestedAt === null && (endedAt === null || endedAt > stop.at))
    found.push(broken('a stop was acknowledged, and the run went on', stop, run))
  if (stopRequestedAt !== null && isFinal(run.state) && run.state !== 'cancelled')
    found.push(broken(`a run was stopped, and ended as ${run.state}`, run))
  const late = steps.filter(({ committedAt }) => stopRequestedAt !== null && committedAt > stopRequestedAt)
  if (late.length > 1) found.push(broken('more than one step was committed after a stop', run, ...late))
  for (const { step, stopped } of effects) {
    if (stopped === late.some(({ name }) => name === step)) continue
    const told = stopped ? 'told of a stop that came later' : 'not told of the stop before it'
    found.push(broken(`a step was committed that was ${told}`, run, step, ...late))
  }
  return found
}

function broken(what: string, ...witness: readonly unknown[]): Violation {
  return { rule: 'I15', what, witness }
}

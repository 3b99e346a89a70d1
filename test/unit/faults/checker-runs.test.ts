// Rules I15 and I9 of the fault lane's checker, on runs made by hand: one in order, and what each rule must find in others.
import { expect, it } from 'vitest'
import type { RunState } from '../../../src/protocol/index.ts'
import { checkRuns } from '../../faults/check-runs.ts'
import type { HistoryEntry } from '../../faults/history.ts'
import type { OracleRunEvent, RunOracle } from '../../faults/run-oracle.ts'

const event = (state: RunState, at: number, attempt = 1): OracleRunEvent => ({
  data: { runId: 'r', task: 'job', state, phase: 'active', attempt, startedBy: 'runner0' },
  at,
})
const run = { id: 'r', state: 'completed' as RunState, attempt: 2, stopRequestedAt: null, endedAt: 100 }
const calm: RunOracle = {
  runs: [run],
  steps: [
    { run: 'r', name: 'one', committedAt: 20 },
    { run: 'r', name: 'two', committedAt: 60 },
  ],
  effects: [
    { run: 'r', step: 'one', attempt: 1, stopped: false },
    { run: 'r', step: 'two', attempt: 2, stopped: false },
  ],
  events: [
    event('pending', 0, 0),
    event('starting', 10),
    event('running', 10),
    event('starting', 40, 2),
    event('running', 40, 2),
    event('completing', 100, 2),
    event('completed', 100, 2),
  ],
  operations: new Map(),
}
const stopped: RunOracle = {
  ...calm,
  runs: [{ ...run, state: 'cancelled', stopRequestedAt: 50 }],
  effects: [
    { run: 'r', step: 'one', attempt: 1, stopped: false },
    { run: 'r', step: 'two', attempt: 2, stopped: true },
  ],
  events: [...calm.events.slice(0, 5), event('cancelled', 100, 2)],
}
const job = (what: 'started' | 'stopped', at: number): HistoryEntry => ({ kind: 'job', what, run: 'r', at })

const found = (oracle: RunOracle, entries: readonly HistoryEntry[] = [job('started', 5)]) =>
  checkRuns(
    entries.map((entry, t) => ({ t, ...entry })),
    oracle,
  ).map(({ rule, what }) => `${rule} ${what}`)

it('runs in order break no rule: with a second attempt, with a stop, and with one that came when the run had ended', () => {
  expect(found(calm)).toEqual([])
  expect(found(stopped, [job('started', 5), job('stopped', 55)])).toEqual([])
  expect(found(calm, [job('stopped', 101)])).toEqual([])
})

it.each<[string, string, RunOracle, HistoryEntry[]]>([
  [
    'a run that is gone',
    'I15 a run was acknowledged, and is not there',
    { ...calm, runs: [] },
    [job('started', 5)],
  ],
  [
    'a state that no arrow leads to',
    'I15 a run went from pending to running',
    { ...calm, events: [event('pending', 0), ...calm.events.slice(2)] },
    [],
  ],
  [
    'a final state that is left',
    'I15 a run went from completed to failed',
    { ...calm, events: [...calm.events, event('failed', 120)] },
    [],
  ],
  [
    'an event without its row',
    'I15 the row of a run says running, and its last event completed',
    { ...calm, runs: [{ ...run, state: 'running' }] },
    [],
  ],
  [
    'a run that nobody has',
    'I15 a run is still running after the recovery',
    { ...calm, runs: [{ ...run, state: 'running', endedAt: null }], events: calm.events.slice(0, 5) },
    [],
  ],
  [
    'an effect that stands twice',
    'I15 the effect of a step stands 2 times instead of 1',
    { ...calm, effects: [...calm.effects, ...calm.effects.slice(1)] },
    [],
  ],
  [
    'an effect without its step',
    'I15 the effect of a step stands 1 times instead of 0',
    { ...calm, steps: calm.steps.slice(1) },
    [],
  ],
  [
    'a step of an attempt that had lost the run',
    'I9 attempt 1 committed a step when attempt 2 had the run',
    { ...calm, effects: calm.effects.map((effect) => ({ ...effect, attempt: 1 })) },
    [],
  ],
  [
    'a step behind the end',
    'I15 a step was committed when its run had ended',
    { ...calm, runs: [{ ...run, endedAt: 50 }] },
    [],
  ],
  [
    'a stop that was forgotten',
    'I15 a stop was acknowledged, and the run went on',
    calm,
    [job('stopped', 55)],
  ],
  [
    'a stop that was overridden',
    'I15 a run was stopped, and ended as completed',
    { ...calm, runs: [{ ...run, stopRequestedAt: 90 }] },
    [],
  ],
  [
    'a step that was not told of the stop before it',
    'I15 a step was committed that was not told of the stop before it',
    { ...stopped, effects: calm.effects },
    [],
  ],
  [
    'two steps behind a stop',
    'I15 more than one step was committed after a stop',
    { ...stopped, runs: [{ ...run, state: 'cancelled', stopRequestedAt: 15 }] },
    [],
  ],
])('%s is found', (_, what, oracle, entries) => {
  expect(found(oracle, entries)).toContain(what)
})

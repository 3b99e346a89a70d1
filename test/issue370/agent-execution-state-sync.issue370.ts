// Scenarios about the state of agents. Checks within one transaction run today; runs, leases and recovery wait for
// their rooms.
import type { Person } from './person.ts'
import type { Scenario, ScenarioFile } from './scenario.ts'
import type { Stage } from './stage.ts'
import { expectInStep } from './looks.ts'

const stepAgrees: Scenario = {
  name: 'Agent step: its rows, its state and its events are committed together, or not at all',
  async run(stage, expect) {
    const [ann] = (await stage.converse('agents', 'ann')) as [Person]
    const steps = await Promise.all(
      Array.from({ length: 20 }, (_, n) =>
        stage.agentStep(ann, { to: 'agents', run: `run-${n}`, fails: n % 4 === 3 }),
      ),
    )
    await expectInStep(stage, steps, expect)
    for (const step of steps) {
      const agrees = await layersAgree(stage, step)
      stage.agentSteps.steps += 1
      if (agrees) stage.agentSteps.agreeing += 1
      expect(agrees, `${step.outcome}: row, state and events do not agree`)
    }
    expect(steps.filter(({ outcome }) => outcome === 'rolled_back').length === 5, 'not 5 steps of 20 failed')
  },
}

async function layersAgree(
  stage: Stage,
  { operationId, outcome }: { readonly operationId: string; readonly outcome?: string },
): Promise<boolean> {
  const [found] = await stage.rows<{ rows: number; states: number }>(
    `select (select count(*)::int from messages where operation_id = $1) as rows,
       (select count(*)::int from agent_states where operation_id = $1 and state = 'completed') as states`,
    [operationId],
  )
  const types = stage.witness.sightingsOf(operationId).map(({ type }) => type)
  const due = outcome === 'committed' ? [1, 1, 'agent.started', 'agent.completed'] : [0, 0]
  return [found?.rows, found?.states, ...types].join() === due.join()
}

const runs = 'the room "runs"'

const prepared: readonly Scenario[] = [
  {
    name: 'Agent golden path: a run from started over its tools to completed',
    waitsFor: runs,
    willShow: ['the run, its steps and its events say the same after each step'],
  },
  {
    name: 'Agent state in memory: the tracker and the database agree at every moment',
    waitsFor: runs,
    willShow: ['at least 95 % of looks agree, and the gap is below 50 ms (agent_state_sync)'],
  },
  {
    name: 'Agent lease: a worker that has lost its lease can write nothing',
    waitsFor: runs,
    willShow: ['a frozen worker that wakes up finds its step fenced', 'a killed one leaves no half step'],
  },
  {
    name: 'Agent recovery: agent_state_desync is put right by itself',
    waitsFor: 'the room "recovery"',
    willShow: ['at least 90 % of planted desyncs are recovered, and the user is notified of the others'],
  },
]

export const agentExecutionStateSync: ScenarioFile = {
  file: 'agent-execution-state-sync.issue370',
  scenarios: [stepAgrees, ...prepared],
}

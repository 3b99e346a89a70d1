// Attempts at a run, without a database: what their end does to the code, and to memory.
import { setImmediate } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect, test } from 'vitest'
import { systemClock } from '../../../src/core/index.ts'
import { noteThrow } from '../../../src/postgres/index.ts'
import { CommittedSteps } from '../../../src/runs/execution/committed-steps.ts'
import { Execution } from '../../../src/runs/execution/execution.ts'
import type { ClaimedRun } from '../../../src/runs/execution/runnable-task.ts'
import { RunSteps } from '../../../src/runs/execution/steps.ts'
import type { StepPorts } from '../../../src/runs/execution/step-tries.ts'
import { pauseAfterThrowMs } from '../../../src/runs/model/retry-rules.ts'

function createExecution(): Execution {
  const facts = { attempt: 1, isStopRequested: false, leftMs: null }
  const claimed = { run: { id: 'run', facts }, node: 'node', task: { name: 'job', retry: { attempts: 1 } } }
  return new Execution(systemClock, claimed as unknown as ClaimedRun, 0)
}

const stepsOf = (execution: Execution): RunSteps =>
  new RunSteps(execution, { clock: systemClock } as StepPorts, new Map())

test('the signal of code that comes to its own end never aborts', async () => {
  for (const run of [async () => 'done', () => Promise.reject(new Error('no'))]) {
    const execution = createExecution()
    execution.begin(new CommittedSteps([]), run)
    await execution.ended
    expect(execution.signal.aborted).toBe(false)
  }
})

test('the signal of code whose run is lost aborts', async () => {
  const execution = createExecution()
  execution.lose()
  expect(execution.signal.reason).toMatchObject({ code: 'LS_RUN_LOST' })
})

test('code that waits for ever at its next step is let go of', async () => {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  const execution = createExecution()
  execution.lose()
  let held: WeakRef<object> | undefined
  const code = async (step: RunSteps): Promise<object> => {
    const memory = { of: 'the code' }
    held = new WeakRef(memory)
    await step.do('next', async () => 1)
    return memory
  }
  void code(stepsOf(execution))
  await setImmediate()
  collect()
  expect(held?.deref()).toBeUndefined()
})

test.each([
  ['timeoutMs', { timeoutMs: Number.NaN }],
  ['retry.attempts', { retry: { attempts: 0 } }],
  ['retry.backoffMs', { retry: { attempts: 2, backoffMs: -1 } }],
  ['retry.maxBackoffMs', { retry: { attempts: 2, maxBackoffMs: 1.5 } }],
])('a step whose %s is no whole number', async (name, options) => {
  const step = { work: async () => 1, ...options }
  await expect(stepsOf(createExecution()).do('charge', step)).rejects.toMatchObject({
    code: 'LS_CONFIG_INVALID',
    message: expect.stringContaining(`${name} must be a whole number`),
  })
})

test('a pause after a throw is a number, whatever the rules leave out and however often it has thrown', () => {
  expect(pauseAfterThrowMs(1, { attempts: 3, backoffMs: undefined } as never)).toBe(500)
  expect(pauseAfterThrowMs(4_000, { attempts: 5_000, backoffMs: 0 })).toBe(0)
  expect(pauseAfterThrowMs(4_000, { attempts: 5_000, backoffMs: 1 })).toBe(30_000)
})

test('the text of an error is kept in a form that Postgres takes, and not at any length', () => {
  const { values = [] } = noteThrow('lockstep', {
    run: 'run',
    attempt: 1,
    node: 'node',
    throws: 1,
    name: 'x',
    error: `bad \0 input${'x'.repeat(10_000)}`,
  })
  const text = String(values.at(-1))
  expect(text).toMatch(/^bad {2}input/)
  expect(text.length).toBeLessThanOrEqual(4_000)
})

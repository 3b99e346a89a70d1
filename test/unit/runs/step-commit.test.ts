// Results of a try to commit a step: whether its operation has begun tells whether the drafts of its work still stand.
import { expect, it } from 'vitest'
import { LockstepError, type ErrorCode } from '../../../src/core/index.ts'
import { commitStep, type CommitTry, type RunStepOperation } from '../../../src/runs/execution/step-commit.ts'

const asked: CommitTry = {
  places: [],
  entry: {
    run: '0199d000-0000-7000-8000-000000000001',
    attempt: 1,
    node: '0199d000-0000-7000-8000-000000000002',
    isStopped: false,
    lastStep: undefined,
    name: 'answer',
  },
  number: 1,
  task: 'answer',
  who: 'Step "answer"',
  user: { id: 'ada' },
  timeoutMs: 1_000,
  signal: new AbortController().signal,
  commit: async () => undefined,
}
const parts = { part: { name: 'runs', open: () => ({}) }, drafts: { name: 'drafts', open: () => ({}) } }
const tryWith = (run: () => Promise<unknown>) => commitStep(run as RunStepOperation, parts as never, asked)

it.each<ErrorCode>(['LS_NODE_OVERLOADED', 'LS_NODE_STARTING', 'LS_NODE_STOPPING', 'LS_NODE_FENCED'])(
  'refused with %s, the try keeps its number: no operation of it has begun',
  async (code) => {
    const refused = await tryWith(() => Promise.reject(new LockstepError(code)))
    expect(refused).toMatchObject({ kind: 'again', isNotAccepted: true })
  },
)

it('rolled back by a conflict, the try has used its number', async () => {
  const error = new LockstepError('LS_SERIALIZATION_FAILURE')
  const rolledBack = await tryWith(async () => ({ outcome: { outcome: 'rolled_back' }, error }))
  expect(rolledBack).toEqual({ kind: 'again', error })
})

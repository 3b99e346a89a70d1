// Answers of a settlement's statement stand, whatever happens to the next question.
import { expect, it } from 'vitest'
import {
  LockstepError,
  newOperationId,
  silentLogger,
  systemClock,
  type Queryable,
} from '../../../src/core/index.ts'
import { CountingAppender } from '../../../src/log/index.ts'
import { createNotice } from '../../../src/transaction/settle/notice.ts'
import { Settler } from '../../../src/transaction/index.ts'

const key = { id: newOperationId(), name: 'send', userId: 'ada', node: 'here', inputHash: 'hash' }
const notice = createNotice({
  operationId: key.id,
  operationName: key.name,
  rollback: {},
  code: 'LS_OPERATION_FAILED',
  affectedLayers: ['database'],
})
const settled = {
  state: 'committed',
  settled: false,
  input_hash: 'hash',
  user_id: 'ada',
  result: '"saved"',
  positions: {},
  at_ms: null,
}

/** Answers settlements; the question of who decided fails for so many times. */
function createSettler(failures: number): Settler {
  let failed = 0
  const own: Queryable = {
    query: ({ text }) => {
      if (/settle/.test(text)) return Promise.resolve({ rows: [settled] as never, count: 1 })
      if (failed++ < failures) return Promise.reject(new LockstepError('LS_CONNECTION_LOST'))
      return Promise.resolve({ rows: [{ node: 'elsewhere' }] as never, count: 1 })
    },
  }
  return new Settler({
    own,
    schema: '"lockstep"',
    log: new CountingAppender(own, '"lockstep"'),
    clock: systemClock,
    logger: silentLogger,
    deliver: () => {},
  })
}

it('a commit by another copy is no failure where it cannot be read whose it was', async () => {
  await expect(createSettler(Infinity).settle(key, notice)).resolves.toMatchObject({
    state: 'committed',
    result: 'saved',
  })
})

it('whose commit it was is asked until it is known', async () => {
  const asking = createSettler(2).settleUntilKnown(key, notice, {
    signal: new AbortController().signal,
    mode: 'enforce',
  })
  await expect(asking).resolves.toMatchObject({ state: 'committed', isAnothers: true })
})

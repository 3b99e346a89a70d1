// Steps that follow from each thing an attempt at an operation can meet, without a database.
import { expect, it } from 'vitest'
import { LockstepError } from '../../../src/core/index.ts'
import {
  afterCommit,
  afterWork,
  codeOfFailure,
  nextAttemptWithinMs,
} from '../../../src/transaction/operation/attempt-rules.ts'

const code = (name: string): unknown => expect.objectContaining({ code: name })

it('flushes what is new, in the history that its intent stands in', () => {
  expect(afterWork({ isNew: undefined, notedIn: 'a', epoch: 'b' })).toEqual({ step: 'flush' })
  expect(afterWork({ isNew: true, notedIn: 'a', epoch: 'a' })).toEqual({ step: 'flush' })
  expect(afterWork({ isNew: true, notedIn: 'a', epoch: undefined })).toEqual({ step: 'flush' })
  expect(afterWork({ isNew: false, notedIn: 'a', epoch: 'b' })).toEqual({ step: 'known' })
  expect(afterWork({ isNew: true, notedIn: 'a', epoch: 'b' })).toEqual({
    step: 'rollBack',
    error: code('LS_CONNECTION_LOST'),
  })
})

it('a COMMIT without its row is unknown, and an outcome that stands is no error of the application', () => {
  const error = new LockstepError('LS_CONNECTION_LOST')
  const row = { flushed: '1 0' }
  expect(afterCommit({ ending: 'committed', flushed: [] }, () => row, undefined)).toEqual({
    step: 'committed',
    row,
    answers: [],
  })
  expect(afterCommit({ ending: 'committed', flushed: [] }, () => undefined, undefined).step).toBe('unknown')
  expect(afterCommit({ ending: 'unknown', error }, () => row, undefined)).toEqual({ step: 'unknown', error })
  const fenced = new LockstepError('LS_OPERATION_FENCED')
  expect(afterCommit({ ending: 'rolled_back', error: fenced }, () => row, undefined)).toEqual({
    step: 'rolledBack',
    error: expect.objectContaining({ code: 'LS_OPERATION_FENCED', cause: fenced }),
  })
})

it('a conflict is tried again ever later, a read-only server once more, and nothing after an interruption', () => {
  const ended = { number: 1, maxAttempts: 5, isInterrupted: false }
  const conflict = { ...ended, code: 'LS_SERIALIZATION_FAILURE' } as const
  expect([1, 2, 3, 4, 5].map((number) => nextAttemptWithinMs({ ...conflict, number }))).toEqual([
    20,
    40,
    80,
    160,
    undefined,
  ])
  expect(nextAttemptWithinMs({ ...conflict, isInterrupted: true })).toBeUndefined()
  expect(nextAttemptWithinMs({ ...ended, code: 'LS_DATABASE_READ_ONLY' })).toBe(20)
  expect(nextAttemptWithinMs({ ...ended, code: 'LS_DATABASE_READ_ONLY', number: 2 })).toBeUndefined()
  expect(nextAttemptWithinMs({ ...ended, code: undefined })).toBeUndefined()
})

it('an interruption is the reason, whatever a statement met then', () => {
  const timeout = new LockstepError('LS_OPERATION_TIMEOUT')
  const seen = new LockstepError('LS_STATEMENT_TIMEOUT')
  expect(codeOfFailure(timeout, seen, true)).toBe('LS_OPERATION_TIMEOUT')
  expect(codeOfFailure(new Error('broken'), undefined, false)).toBe('LS_OPERATION_FAILED')
})

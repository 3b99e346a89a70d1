// Answers to settlements, their meaning, and the next step of the search for an outcome.
import { expect, it } from 'vitest'
import { LockstepError } from '../../../src/core/index.ts'
import type { SettleRow } from '../../../src/postgres/index.ts'
import {
  afterFailedSettlement,
  OutcomeSearch,
  settledBy,
} from '../../../src/transaction/settle/outcome-search.ts'

const key = { id: 'an id', name: 'send', userId: 'ada', node: 'here', inputHash: 'hash' }
const row: SettleRow = {
  settled: true,
  state: 'rolled_back',
  result: null,
  notice: null,
  positions: null,
  offsets: null,
  withdrawn: null,
  at_ms: null,
  user_id: 'ada',
  input_hash: 'hash',
  epoch: 'a',
}
const heldUp = new LockstepError('LS_STATEMENT_TIMEOUT')
const away = new LockstepError('LS_DATABASE_UNREACHABLE')
const reused = new LockstepError('LS_OPERATION_ID_REUSED')

it('the row that stands is the outcome, whoever wrote it, but for one of another input', () => {
  expect(settledBy(row, key)).toEqual({ state: 'rolled_back', notice: null })
  expect(settledBy({ ...row, settled: false }, key)).toMatchObject({ wasDecidedBefore: true })
  const committed = {
    ...row,
    state: 'committed',
    settled: false,
    result: '"saved"',
    positions: { room: 3 },
  } as const
  expect(settledBy(committed, key)).toEqual({
    state: 'committed',
    result: 'saved',
    offsets: new Map([['room', 3]]),
    epoch: 'a',
  })
  // An id that was closed before its call came has no digest.
  expect(settledBy({ ...row, input_hash: '' }, key).state).toBe('rolled_back')
  expect(() => settledBy({ ...row, input_hash: 'another' }, key)).toThrow(reused.message)
  expect(() => settledBy({ ...row, state: null }, key)).toThrow(
    expect.objectContaining({ code: 'LS_CONNECTION_LOST' }),
  )
  expect(() => settledBy(undefined, key)).toThrow(expect.objectContaining({ code: 'LS_CONNECTION_LOST' }))
})

it('after an answer that was lost, nobody can tell who had decided', () => {
  const search = new OutcomeSearch()
  const decidedBefore = { state: 'rolled_back', notice: null, wasDecidedBefore: true } as const
  expect(search.found(decidedBefore)).toEqual(decidedBefore)
  search.failed(away)
  expect(search.found(decidedBefore)).toEqual({ state: 'rolled_back', notice: null })
})

it('the question is asked again ever more slowly, alone where it was held up, and never for an id that is reused', () => {
  const search = new OutcomeSearch()
  expect(search.isSuspect).toBe(false)
  expect(Array.from({ length: 8 }, () => search.failed(away))).toEqual([
    50, 100, 200, 400, 800, 1_600, 2_000, 2_000,
  ])
  expect(search.isSuspect).toBe(false)
  search.failed(heldUp)
  expect(search.isSuspect).toBe(true)
  expect(search.failed(reused)).toBeUndefined()
  expect(new OutcomeSearch(heldUp).isSuspect).toBe(true)
})

it('a rollback that cannot be written is reported from memory only where no other copy can have come first', () => {
  expect(afterFailedSettlement(away, false)).toBe('tellFromMemory')
  expect(afterFailedSettlement(away, true)).toBe('tellPending')
  expect(afterFailedSettlement(heldUp, false)).toBe('askOn')
  expect(afterFailedSettlement(new LockstepError('LS_SERIALIZATION_FAILURE'), true)).toBe('askOn')
  expect(afterFailedSettlement(reused, false)).toBe('refuse')
})

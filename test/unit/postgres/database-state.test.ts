import { beforeEach, expect, it, vi } from 'vitest'
import { DatabaseState } from '../../../src/postgres/database-state.ts'

let nowMs = 0
beforeEach(() => {
  nowMs = 10_000
  vi.spyOn(performance, 'now').mockImplementation(() => nowMs)
})

const readOnly = Object.assign(new Error('cannot execute INSERT in a read-only transaction'), {
  code: '25006',
})

it('connections of before the server was found to be read-only are outdated, and later ones are not', () => {
  const state = new DatabaseState()
  expect(state.isOutdated(9_000)).toBe(false)
  expect(state.note(readOnly)).toBe(true)
  expect([9_000, 9_999, 10_000, 10_001].map((connectedAt) => state.isOutdated(connectedAt))).toEqual([
    true,
    true,
    false,
    false,
  ])
})

it('code that writes in a read-only transaction of its own costs the pool its connections once a second', () => {
  const state = new DatabaseState()
  state.note(readOnly)
  nowMs = 10_900
  state.note(readOnly)
  expect(state.isOutdated(10_500)).toBe(false)
  nowMs = 11_100
  state.note(readOnly)
  expect(state.isOutdated(10_500)).toBe(true)
})

it('an error of what was asked outdates nothing', () => {
  const state = new DatabaseState()
  expect(state.note(Object.assign(new Error('x'), { code: '23505' }))).toBe(false)
  expect(state.isOutdated(0)).toBe(false)
})

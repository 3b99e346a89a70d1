// State of a lease as its node sees it, from the questions sent, their times, and the answers.
import { expect, it } from 'vitest'
import { LeaseTerm } from '../../../src/cluster/lease-term.ts'

const held = (): LeaseTerm => {
  const term = new LeaseTerm('none', 3_000)
  term.registered({ node: 'first', askedAt: 100 })
  return term
}

it('holds from when it was asked for, and is unsure once it may have run out', () => {
  const term = new LeaseTerm('none', 3_000)
  expect(term.stateAt(0)).toBe('starting')
  term.registered({ node: 'first', askedAt: 100 })
  expect(term.node).toBe('first')
  expect(term.stateAt(3_100)).toBe('held')
  expect(term.stateAt(3_101)).toBe('unsure')
  expect(term.renewed({ node: 'first', askedAt: 2_000 }, true)).toBe('holds')
  term.extend(2_000)
  expect(term.stateAt(5_000)).toBe('held')
})

it('an answer that a later one has overtaken says nothing', () => {
  const term = held()
  expect(term.renewed({ node: 'first', askedAt: 2_000 }, true)).toBe('holds')
  term.extend(2_000)
  expect(term.renewed({ node: 'first', askedAt: 1_000 }, false)).toBe('isOutdated')
  expect(term.stateAt(2_000)).toBe('held')
})

it('a lease that is lost is replaced under a new id, and what is still on its way about the old one counts for nothing', () => {
  const term = held()
  expect(term.renewed({ node: 'first', askedAt: 5_000 }, false)).toBe('isLost')
  expect(term.stateAt(5_000)).toBe('lost')
  term.registered({ node: 'second', askedAt: 5_010 })
  expect(term.stateAt(5_010)).toBe('held')
  expect(term.renewed({ node: 'first', askedAt: 5_005 }, false)).toBe('isOutdated')
  expect(term.stateAt(5_010)).toBe('held')
})

it('is given back once, and what comes later brings it back no more', () => {
  const term = held()
  expect(term.release()).toBe(true)
  expect(term.release()).toBe(false)
  expect(term.renewed({ node: 'first', askedAt: 200 }, false)).toBe('isOutdated')
  term.registered({ node: 'second', askedAt: 300 })
  expect(term.stateAt(300)).toBe('released')
  expect(new LeaseTerm('none', 3_000).release()).toBe(false)
})

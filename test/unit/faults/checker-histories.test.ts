// Rule I17 of the fault lane's checker: a history of the database that another one has replaced.
import { expect, it } from 'vitest'
import { checkHistories } from '../../faults/check-histories.ts'
import type { HistoryEntry, HistoryLine } from '../../faults/history.ts'
import { noRuns, type Oracle, type OracleEvent } from '../../faults/oracle.ts'

const channel = 'room:a'
const eventOf = (id: string, offset: number): OracleEvent => ({
  channel,
  offset,
  id,
  type: 'done',
  data: '{}',
})
const oracleOf = (epoch: string, events: readonly OracleEvent[]): Oracle => {
  return {
    epoch,
    events,
    operations: new Map(),
    heads: new Map(),
    effects: new Map(),
    receipts: new Map(),
    promises: new Map(),
    runs: noRuns,
  }
}

// `two` is lost, and another operation stands where it stood.
const first = oracleOf('first', [eventOf('one', 1), eventOf('two', 2)])
const last = oracleOf('second', [eventOf('one', 1), eventOf('new', 2)])

const place = (kind: 'join' | 'reset' | 'resume', offset: number, epoch: string): HistoryEntry => {
  return { kind, subscriber: 'ada', channel, offset, epoch }
}
const deliver = (id: string, offset: number): HistoryEntry => {
  return { kind: 'deliver', subscriber: 'ada', ...eventOf(id, offset) }
}
const seen = [place('join', 0, 'first'), deliver('one', 1), deliver('two', 2)]

const wrong = (entries: readonly HistoryEntry[], oracles = [first, last]): readonly string[] =>
  checkHistories(
    entries.map((entry, t): HistoryLine => ({ t, ...entry })),
    oracles,
  ).map(({ what }) => what)

it('breaks no rule when everyone was asked to reload, or resumed before it and after it', () => {
  const moved = place('reset', 1, 'second')
  expect(wrong([...seen, place('resume', 2, 'first'), moved, deliver('new', 2)])).toEqual([])
  expect(wrong([...seen, moved, place('resume', 1, 'second'), deliver('new', 2)])).toEqual([])
  expect(wrong([...seen, place('resume', 2, 'first')], [first])).toEqual([])
})

const cases: readonly (readonly [string, readonly HistoryEntry[], Oracle[]?])[] = [
  [
    'a subscriber went on from one history into another, as one that missed nothing',
    [...seen, place('resume', 2, 'second')],
  ],
  [
    'an event of one history was delivered to a subscriber that stands in another one',
    [...seen.slice(0, 2), deliver('new', 2), place('reset', 2, 'second')],
  ],
  ['a subscriber was never told that the history is another one', seen],
  [
    'a subscriber was given an epoch that no history has: it was renewed without a reason',
    [...seen, place('reset', 2, 'third'), place('reset', 2, 'second')],
  ],
  [
    'a subscriber was never told that the history is another one',
    [...seen, place('reset', 2, 'third')],
    [first],
  ],
  ['the history was replaced, and its epoch was not renewed', seen, [first, { ...last, epoch: 'first' }]],
]

it.each(cases.map(([what, entries, oracles]) => ({ what, entries, oracles })))('$what', (one) => {
  expect(wrong(one.entries, one.oracles)).toContain(one.what)
})

// The history of a crowd: shorter, and nothing that the checker looks for may get lost in it.
import { describe, expect, it } from 'vitest'
import { CompactHistory } from '../../faults/compact-history.ts'
import { createHistory, type HistoryEntry } from '../../faults/history.ts'

const channel = 'room:a'
const deliver = (subscriber: string, offset: number, data = `{"n":${offset}}`): HistoryEntry => {
  return { kind: 'deliver', subscriber, channel, offset, type: 'done', id: `op${offset}`, data }
}
const payload = (offset: number): HistoryEntry => {
  return { kind: 'payload', channel, offset, type: 'done', id: `op${offset}`, data: `{"n":${offset}}` }
}
const run = (subscriber: string, from: number, to: number): HistoryEntry => {
  return { kind: 'run', subscriber, channel, from, to }
}
const reset = (subscriber: string, offset: number): HistoryEntry => {
  return { kind: 'reset', subscriber, channel, offset }
}

function written(entries: readonly HistoryEntry[]): readonly HistoryEntry[] {
  const history = createHistory()
  const compact = new CompactHistory(history)
  for (const entry of entries) compact.add(entry)
  compact.flush()
  return history.lines.map(
    (line) => Object.fromEntries(Object.entries(line).filter(([name]) => name !== 't')) as HistoryEntry,
  )
}

describe('the history of a crowd', () => {
  it('writes each event once, and who received it as runs', () => {
    const entries = [deliver('ada', 1), deliver('bob', 1), deliver('ada', 2), deliver('bob', 2)]
    expect(written(entries)).toEqual([payload(1), payload(2), run('ada', 1, 2), run('bob', 1, 2)])
  })

  it.each<[string, readonly HistoryEntry[], readonly HistoryEntry[]]>([
    [
      'a repetition',
      [deliver('ada', 1), deliver('ada', 1)],
      [payload(1), run('ada', 1, 1), run('ada', 1, 1)],
    ],
    [
      'a hole',
      [deliver('ada', 1), deliver('ada', 3)],
      [payload(1), payload(3), run('ada', 1, 1), run('ada', 3, 3)],
    ],
    [
      'an order that is wrong',
      [deliver('ada', 2), deliver('ada', 1)],
      [payload(2), payload(1), run('ada', 2, 2), run('ada', 1, 1)],
    ],
    [
      'another payload of the same offset',
      [deliver('ada', 1), deliver('bob', 1, '{}')],
      [payload(1), deliver('bob', 1, '{}'), run('ada', 1, 1)],
    ],
    [
      'a reload in the middle',
      [deliver('ada', 1), reset('ada', 1), deliver('ada', 2)],
      [payload(1), run('ada', 1, 1), reset('ada', 1), payload(2), run('ada', 2, 2)],
    ],
  ])('shows %s', (_, entries, expected) => {
    const lines = written(entries)
    expect(lines.toSorted(byText)).toEqual(expected.toSorted(byText))
    // Lines of the same subscriber keep their order.
    const own = (list: readonly HistoryEntry[]): readonly HistoryEntry[] =>
      list.filter((entry) => 'subscriber' in entry && entry.subscriber === 'ada')
    expect(own(lines)).toEqual(own(expected))
  })
})

const byText = (a: HistoryEntry, b: HistoryEntry): number => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1)

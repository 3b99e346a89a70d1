// Drafts put together from pushes that come twice, late, merged, or with holes between them. A model without any of that says
// what has to be on the screen.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { DraftBoard, type DraftFacts, type DraftPush } from '../../../src/client/draft-board.ts'

const push = (from: number, chunks: readonly unknown[], more: object = {}): DraftPush => ({
  draft: { operation: 'op', name: 'answer', attempt: 1, from, after: 0, ...more },
  chunks,
})
const event = (operationId: string, type = 'message.created', data: unknown = {}) => ({
  type,
  operationId,
  data,
})
const texts = (facts: readonly DraftFacts[]) => facts.map(({ text, state }) => [text, state])
const open = (operation: string, chunks: readonly unknown[], more: object = {}) => ({
  operation,
  name: 'answer',
  attempt: 1,
  runId: null,
  from: 1,
  chunks,
  ...more,
})

describe('chunks', () => {
  test('are put together by their numbers, and what is there already is dropped', () => {
    const board = new DraftBoard()
    expect(texts(board.push(push(1, ['a', 'b'])).changed)).toEqual([['ab', 'open']])
    expect(texts(board.push(push(2, ['b', 'c', 'd'])).changed)).toEqual([['abcd', 'open']])
    expect(board.push(push(1, ['a', 'b'])).changed).toEqual([])
    expect(board.open[0]).toMatchObject({ chunks: ['a', 'b', 'c', 'd'], operationId: 'op', name: 'answer' })
  })

  test('ahead of a hole are held until it is closed, and the hole is reported', () => {
    const board = new DraftBoard()
    board.push(push(1, ['a']))
    expect(board.push(push(3, ['c']))).toEqual({ changed: [], isMissing: true })
    expect(board.push(push(5, ['e']))).toEqual({ changed: [], isMissing: true })
    expect(texts(board.push(push(2, ['b', 'c', 'd'])).changed)).toEqual([['abcde', 'open']])
  })

  test('that are no texts stay a list', () => {
    const board = new DraftBoard()
    board.push(push(1, [{ type: 'text' }]))
    expect(board.open[0]).toMatchObject({ chunks: [{ type: 'text' }], text: undefined })
    // Several texts that are merged on their way are several chunks all the same.
    board.push({ ...push(1, ['x', 'y']), draft: { ...push(1, []).draft, operation: 'other' } })
    expect(board.open[1]).toMatchObject({ chunks: ['x', 'y'], text: 'xy' })
  })

  test('wait for the event behind which they belong', () => {
    const board = new DraftBoard()
    board.joined([], 4)
    expect(board.push(push(1, ['a'], { after: 6 })).changed).toEqual([])
    expect(board.push(push(2, ['b'], { after: 6 })).changed).toEqual([])
    expect(board.event(event('x'), 5).changed).toEqual([])
    expect(texts(board.event(event('y'), 6).changed)).toEqual([['ab', 'open']])
    expect(texts(board.push(push(3, ['c'], { after: 6 })).changed)).toEqual([['abc', 'open']])
  })

  test('are shown by a later event, where the one behind which they belong is shown to no client', () => {
    const board = new DraftBoard()
    board.joined([], 4)
    expect(board.push(push(1, ['a'], { after: 5 })).changed).toEqual([])
    expect(texts(board.event(event('y'), 6).changed)).toEqual([['a', 'open']])
  })

  test('that come after the end are dropped', () => {
    const board = new DraftBoard()
    board.push(push(1, ['a']))
    expect(texts(board.event(event('op'), 1).changed)).toEqual([['a', 'committed']])
    expect(board.push(push(2, ['b'])).changed).toEqual([])
    expect(board.open).toEqual([])
  })
})

describe('the end', () => {
  test('is the first event of the operation on the channel', () => {
    for (const [type, state] of [
      ['message.created', 'committed'],
      ['draft.committed', 'committed'],
      ['draft.retracted', 'retracted'],
    ] as const) {
      const board = new DraftBoard()
      board.push(push(1, ['a']))
      expect(board.event(event('other', type), 1).changed).toEqual([])
      expect(texts(board.event(event('op', type), 2).changed)).toEqual([['a', state]])
    }
  })

  test('of a lower attempt comes with the higher one, and nothing of the lower one after it', () => {
    const board = new DraftBoard()
    const of = (attempt: number) => ({
      ...push(1, [`a${attempt}`], { attempt, operation: `op${attempt}` }),
      runId: 'run',
    })
    board.push(of(1))
    expect(texts(board.push(of(2)).changed)).toEqual([
      ['a1', 'retracted'],
      ['a2', 'open'],
    ])
    expect(board.push(of(1)).changed).toEqual([])
    const begun = board.event(event('claim', 'run.state', { runId: 'run', attempt: 3, state: 'running' }), 9)
    expect(texts(begun.changed)).toEqual([['a2', 'retracted']])
    expect(board.push({ ...of(2), chunks: ['late'] }).changed).toEqual([])
  })
})

describe('a join', () => {
  test('replaces what was held, and goes on from there', () => {
    const board = new DraftBoard()
    board.push(push(1, ['a']))
    expect(texts(board.joined([open('op', ['a', 'b', 'c'])], 3).changed)).toEqual([['abc', 'open']])
    expect(board.caughtUp().changed).toEqual([])
    expect(texts(board.push(push(4, ['d'])).changed)).toEqual([['abcd', 'open']])
  })

  test('ends what is open no more: by the events that come with it, or else off the screen', () => {
    const board = new DraftBoard()
    board.push(push(1, ['a']))
    board.push(push(1, ['b'], { operation: 'lost' }))
    expect(board.joined([open('new', ['n'])], 3).changed).toMatchObject([{ text: 'n', state: 'open' }])
    expect(texts(board.event(event('op'), 4).changed)).toEqual([['a', 'committed']])
    expect(texts(board.caughtUp().changed)).toEqual([['b', 'retracted']])
    expect(texts(board.open.map((draft) => draft))).toEqual([['n', 'open']])
  })
})

/** Steps of a feed: chunks in whatever order and however often, joins, and events of others. */
const steps = fc.array(
  fc.oneof(
    fc.record({
      kind: fc.constant('push' as const),
      from: fc.integer({ min: 1, max: 12 }),
      count: fc.integer({ min: 1, max: 6 }),
    }),
    fc.record({ kind: fc.constant('join' as const), upTo: fc.integer({ min: 0, max: 12 }) }),
    fc.record({ kind: fc.constant('event' as const) }),
  ),
  { maxLength: 40 },
)

test('shows at each moment a beginning of what was written, which only grows, and in the end what the model has', () => {
  fc.assert(
    fc.property(steps, fc.integer({ min: 0, max: 4 }), (all, after) => {
      const board = new DraftBoard()
      const written = Array.from({ length: 20 }, (_, index) => `${index + 1},`)
      const received = new Set<number>()
      let offset = 0
      let shown = 0
      for (const step of all) {
        if (step.kind === 'event') board.event(event(`other ${offset}`), ++offset)
        else if (step.kind === 'push') {
          const chunks = written.slice(step.from - 1, step.from - 1 + step.count)
          board.push(push(step.from, chunks, { after }))
          for (let at = step.from; at < step.from + step.count; at += 1) received.add(at)
        } else {
          // A join never has less than what was pushed before it: it is cut in the same order.
          const most = Math.max(step.upTo, ...received)
          board.joined([open('op', written.slice(0, most))], Math.max(offset, after))
          board.caughtUp()
          offset = Math.max(offset, after)
          for (let at = 1; at <= most; at += 1) received.add(at)
        }
        let whole = 0
        while (received.has(whole + 1)) whole += 1
        const chunks = board.open[0]?.chunks ?? []
        expect(chunks).toEqual(offset < after ? [] : written.slice(0, whole))
        expect(board.open[0]?.text ?? '').toBe(chunks.join(''))
        expect(chunks.length).toBeGreaterThanOrEqual(shown)
        shown = chunks.length
      }
      expect(texts(board.event(event('op'), Math.max(offset, after) + 1).changed).length).toBeLessThanOrEqual(
        1,
      )
      expect(board.open).toEqual([])
    }),
    { numRuns: 300 },
  )
})

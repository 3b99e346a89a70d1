// Drafts of a channel in one order with its events: each order of chunks, events and answers shows the same.
import { expect, it } from 'vitest'
import type { DraftPush } from '../../../src/protocol/index.ts'
import { OngoingDrafts } from '../../../src/feeds/ongoing-drafts.ts'

const push = (
  from: number,
  chunks: readonly string[],
  more: Partial<DraftPush['draft']> = {},
  runId: string | null = null,
): DraftPush => ({
  type: 'draft',
  draft: { operation: 'o1', name: 'answer', attempt: 1, from, after: 0, ...more },
  runId,
  chunks,
})
const chunksOf = (pushes: readonly DraftPush[]) => pushes.flatMap(({ chunks }) => chunks)
const open = (openOperations: readonly string[], now = 0) => ({ openOperations, reached: true, now })
const said = (operationId: string) => ({ type: 'said', data: '{}', operationId })

it('holds chunks until the events that they follow have been shown', () => {
  const drafts = new OngoingDrafts()
  expect(drafts.heard(push(1, ['a'], { after: 5 }), 4, 0)).toEqual([])
  expect(drafts.all).toEqual([])
  expect(chunksOf(drafts.moved(5, 0))).toEqual(['a'])
})

it('shows each chunk once: what overlaps is cut, and what is behind a hole waits for the database', () => {
  const drafts = new OngoingDrafts()
  drafts.heard(push(1, ['a', 'b']), 0, 0)
  expect(drafts.heard(push(2, ['b', 'c']), 0, 0)).toMatchObject([{ draft: { from: 3 }, chunks: ['c'] }])
  expect(drafts.heard(push(6, ['f']), 0, 0)).toEqual([])
  expect(drafts.asked(0)).toEqual(['o1'])
  const stored = {
    operation: 'o1',
    name: 'answer',
    attempt: 1,
    runId: null,
    chunks: ['a', 'b', 'c', 'd', 'e'],
  }
  const { shown, ended } = drafts.answered(['o1'], [stored], open(['o1']))
  expect(chunksOf(shown)).toEqual(['d', 'e', 'f'])
  expect(ended).toEqual([])
  expect(drafts.hasMissing).toBe(false)
})

it('ends with the first event of its operation, and shows nothing of it that comes late', () => {
  const drafts = new OngoingDrafts()
  drafts.heard(push(1, ['a']), 0, 0)
  expect(drafts.delivered(said('o1'), 10)).toBe(true)
  expect(drafts.all).toEqual([])
  expect(drafts.heard(push(2, ['b']), 1, 59_000)).toEqual([])
  // An operation that never showed anything here is remembered as well.
  drafts.delivered(said('o2'), 10)
  expect(drafts.heard(push(1, ['x'], { operation: 'o2' }), 2, 20)).toEqual([])
})

it('takes back named drafts alone where others of the operation stand', () => {
  const drafts = new OngoingDrafts()
  drafts.heard(push(1, ['a']), 0, 0)
  drafts.heard(push(1, ['x'], { name: 'title' }), 0, 0)
  drafts.delivered({ type: 'draft.retracted', data: '{"names":["title"]}', operationId: 'o1' }, 0)
  expect(drafts.all.map(({ name }) => name)).toEqual(['answer'])
})

it('shows the highest attempt at a run, and nothing of the ones before', () => {
  const drafts = new OngoingDrafts()
  drafts.heard(push(1, ['old'], {}, 'r1'), 0, 0)
  expect(chunksOf(drafts.heard(push(1, ['new'], { operation: 'o2', attempt: 2 }, 'r1'), 0, 0))).toEqual([
    'new',
  ])
  expect(drafts.heard(push(1, ['late'], {}, 'r1'), 0, 0)).toEqual([])
  expect(drafts.all.map(({ operation }) => operation)).toEqual(['o2'])
})

it('asks how a draft stands that is silent, and ends it where the database has none', () => {
  const drafts = new OngoingDrafts()
  drafts.heard(push(1, ['a']), 0, 0)
  expect(drafts.asked(1_999)).toEqual([])
  expect(drafts.asked(2_000)).toEqual(['o1'])
  // The feed has not come as far as the snapshot: the event that ends it may be on its way.
  expect(drafts.answered(['o1'], [], { ...open([], 2_000), reached: false }).ended).toEqual([])
  expect(drafts.answered(['o1'], [], open([], 2_000)).ended).toEqual(['o1'])
  expect(drafts.all).toEqual([])
})

it('goes on asking for a draft that is open and of which no chunk is stored yet', () => {
  const drafts = new OngoingDrafts()
  // The first push was sent before this feed was there.
  expect(drafts.heard(push(2, ['b']), 0, 0)).toEqual([])
  expect(drafts.answered(['o1'], [], open(['o1']))).toEqual({ shown: [], ended: [] })
  expect(drafts.hasMissing).toBe(true)
  const stored = { operation: 'o1', name: 'answer', attempt: 1, runId: null, chunks: ['a', 'b'] }
  expect(chunksOf(drafts.answered(['o1'], [stored], open(['o1'])).shown)).toEqual(['a', 'b'])
  expect(drafts.hasMissing).toBe(false)
})

it('keeps asking for one draft of an operation while another one goes on', () => {
  const drafts = new OngoingDrafts()
  drafts.heard(push(3, ['c']), 0, 0)
  drafts.heard(push(1, ['x'], { name: 'title' }), 0, 0)
  expect(drafts.asked(0)).toEqual(['o1'])
})

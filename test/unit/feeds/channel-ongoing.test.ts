// Open runs of a channel, by a snapshot and the events around it: each order of the two tells the same.
import { expect, it } from 'vitest'
import { phaseOf, type OngoingRun, type RunState } from '../../../src/protocol/index.ts'
import { ChannelOngoing } from '../../../src/feeds/channel-ongoing.ts'

const runOf = (runId: string, state: RunState, attempt = 1): OngoingRun => ({
  runId,
  task: 'write',
  state,
  phase: phaseOf(state),
  attempt,
  startedBy: 'ada',
  waits: [],
  progress: null,
})
const eventOf = (offset: number, runId: string, state: RunState) => {
  const { waits: _, progress: __, ...data } = runOf(runId, state)
  return { offset, operationId: `operation ${offset}`, type: 'run.state', data: JSON.stringify(data) }
}
const statesIn = (ongoing: ChannelOngoing) =>
  (JSON.parse(ongoing.text) as { runs: OngoingRun[] }).runs.map(({ runId, state }) => `${runId} ${state}`)

it('takes events that came before the snapshot for a part of it, and those behind it for news', () => {
  const ongoing = new ChannelOngoing()
  ongoing.delivered([eventOf(1, 'a', 'pending'), eventOf(2, 'a', 'running')])
  expect(ongoing.isKnownAt(2)).toBe(false)
  ongoing.delivered([eventOf(3, 'a', 'completed'), eventOf(4, 'b', 'pending')])
  // The snapshot was taken at 2, and answered when the feed stood at 4.
  ongoing.answered({ head: 2, drafts: [], runs: [runOf('a', 'running')] })
  expect(ongoing.isKnownAt(4)).toBe(true)
  expect(statesIn(ongoing)).toEqual(['b pending'])
})

it('is not known before the feed has reached the snapshot', () => {
  const ongoing = new ChannelOngoing()
  ongoing.answered({ head: 5, drafts: [], runs: [] })
  expect(ongoing.isKnownAt(4)).toBe(false)
  // The run had ended by then.
  ongoing.delivered([eventOf(4, 'a', 'running'), eventOf(5, 'a', 'failed')])
  expect(ongoing.isKnownAt(5)).toBe(true)
  expect(statesIn(ongoing)).toEqual([])
})

it('keeps the newest progress of a run over its states', () => {
  const ongoing = new ChannelOngoing()
  ongoing.answered({ head: 0, drafts: [], runs: [] })
  ongoing.delivered([eventOf(1, 'a', 'running')])
  ongoing.pushed({ type: 'run.progress', data: '{"runId":"a","progress":{"done":3}}' })
  ongoing.delivered([eventOf(2, 'a', 'pending')])
  expect((JSON.parse(ongoing.text) as { runs: OngoingRun[] }).runs).toMatchObject([
    { state: 'pending', phase: 'queued', progress: { done: 3 } },
  ])
})

it('asks anew once events between are gone', () => {
  const ongoing = new ChannelOngoing()
  ongoing.answered({ head: 1, drafts: [], runs: [runOf('a', 'running')] })
  ongoing.startOver()
  expect(ongoing.isKnownAt(9)).toBe(false)
  ongoing.answered({ head: 9, drafts: [], runs: [] })
  expect(statesIn(ongoing)).toEqual([])
})

it('bounds the progress of all runs together: a reply that is too long would end the connection of every reader', () => {
  const ongoing = new ChannelOngoing()
  const long = 'x'.repeat(30_000)
  const runs = ['a', 'b', 'c'].map((id) => ({ ...runOf(id, 'running'), progress: long }))
  ongoing.answered({ head: 0, drafts: [], runs })
  const shown = (JSON.parse(ongoing.text) as { runs: OngoingRun[] }).runs
  expect(shown.map(({ progress }) => progress === long)).toEqual([true, true, false])
})

it('has the progress that was pushed while the snapshot was asked for', () => {
  const ongoing = new ChannelOngoing()
  ongoing.pushed({ type: 'run.progress', data: JSON.stringify({ runId: 'a', progress: 7 }) })
  ongoing.answered({ head: 0, drafts: [], runs: [runOf('a', 'running')] })
  expect((JSON.parse(ongoing.text) as { runs: OngoingRun[] }).runs[0]?.progress).toBe(7)
})

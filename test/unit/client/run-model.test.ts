// States of a run are told by events and by answers, in any order and more than once: the newest one counts.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { askedRun, isEnd, isNews, withAnswer, withState } from '../../../src/client/run-model.ts'
import { phaseOf, type RunState } from '../../../src/protocol/index.ts'
import { runArrows, type RunInput } from '../../../src/runs/index.ts'

/** A history that the machine of the server allows: states, each with its attempt. */
const histories = fc.array(fc.nat(), { minLength: 1, maxLength: 12 }).map((choices) => {
  let state = 'pending' as RunState
  let attempt = 0
  const told = [{ state, phase: phaseOf(state), attempt }]
  for (const choice of choices) {
    const arrows = Object.entries(runArrows[state]) as [RunInput, RunState][]
    const arrow = arrows[choice % Math.max(1, arrows.length)]
    if (arrow === undefined) break
    if (arrow[0] === 'claim') attempt += 1
    state = arrow[1]
    told.push({ state, phase: phaseOf(state), attempt })
  }
  return told
})

test('the last state of a history is known, in whatever order and however often it arrives', () => {
  fc.assert(
    fc.property(histories, fc.array(fc.nat(), { maxLength: 30 }), (told, order) => {
      let known = askedRun
      for (const index of order) known = withState(known, told[index % told.length] ?? askedRun)
      for (const one of [...told].toReversed()) known = withState(known, one)
      expect(known).toMatchObject(told.at(-1) ?? {})
    }),
    { numRuns: 500 },
  )
})

test('an end is never left, and an answer brings steps and progress', () => {
  const report = { runId: 'r', task: 't', channel: 'c', startedBy: 'ada', waits: [] }
  const running = { ...report, state: 'running', phase: 'active', attempt: 2 } as const
  const known = withAnswer(askedRun, { ...running, progress: 1, steps: [{ name: 's', at: 'now' }] })
  expect(known).toEqual({
    state: 'running',
    phase: 'active',
    attempt: 2,
    progress: 1,
    steps: [{ name: 's', at: 'now' }],
  })
  const ended = withState(known, { state: 'failed', phase: 'failed', attempt: 2 })
  expect(isEnd(ended)).toBe(true)
  expect(isNews(ended, { ...running, attempt: 3 })).toBe(false)
  // Another history may have fewer attempts.
  const anew = withAnswer(ended, { ...running, attempt: 1, progress: null }, true)
  expect(anew).toMatchObject({ state: 'running', attempt: 1, steps: [{ name: 's', at: 'now' }] })
  expect(withAnswer(known, { ...running, progress: null })).toEqual(known)
  expect(withAnswer(askedRun, { ...running, progress: null }).progress).toBeUndefined()
})

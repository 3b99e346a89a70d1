// Decisions about a run: who may take it on, what a stop does, how it ends.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { isFinal, statesBy } from '../../../src/runs/index.ts'
import {
  changeByClaim,
  changeByEnding,
  changeByRelease,
  effectOfStop,
  mostDeaths,
  pauseAfterDeathsMs,
  type RunChange,
  type RunFacts,
} from '../../../src/runs/model/run-decisions.ts'
import { pauseAfterThrowMs } from '../../../src/runs/model/retry-rules.ts'

const fresh: RunFacts = {
  state: 'pending',
  attempt: 0,
  deaths: 0,
  isStopRequested: false,
  onNodeDeath: 'retry',
  leftMs: null,
}
const running: RunFacts = { ...fresh, state: 'running', attempt: 1 }

const inputsOf = (change: RunChange | undefined) => change?.inputs

test('a run that waits is claimed under the next attempt, and one that runs only where its node is dead', () => {
  expect(changeByClaim(fresh, false)).toEqual({
    inputs: ['claim', 'begin'],
    attempt: 1,
    deaths: 0,
    pauseMs: 0,
  })
  expect(changeByClaim(running, false)).toBeUndefined()
  expect(changeByClaim(running, true)).toEqual({
    inputs: ['claim', 'begin'],
    attempt: 2,
    deaths: 1,
    pauseMs: 0,
  })
  expect(changeByClaim({ ...running, state: 'completed' }, true)).toBeUndefined()
})

test('deaths are bounded, with pauses that grow from the second on', () => {
  const pauses = Array.from({ length: mostDeaths }, (_, index) => pauseAfterDeathsMs(index + 1))
  expect(pauses).toEqual([0, 1_000, 2_000, 4_000, 8_000])
  for (let deaths = 1; deaths < mostDeaths; deaths++) {
    const change = changeByClaim({ ...running, deaths }, true)
    expect(change).toMatchObject({
      inputs: ['release'],
      deaths: deaths + 1,
      attempt: 1,
      pauseMs: pauses[deaths],
    })
  }
  expect(changeByClaim({ ...running, deaths: mostDeaths }, true)).toMatchObject({
    inputs: ['die'],
    deaths: mostDeaths + 1,
  })
  expect(inputsOf(changeByClaim({ ...running, onNodeDeath: 'fail' }, true))).toEqual(['die'])
})

test('a stop comes before all else, and time that is over before another attempt', () => {
  const stopped = { ...running, isStopRequested: true, leftMs: 0 }
  expect(inputsOf(changeByClaim(stopped, true))).toEqual(['stop'])
  expect(inputsOf(changeByClaim({ ...running, leftMs: -1 }, true))).toEqual(['expire'])
  expect(inputsOf(changeByClaim({ ...fresh, leftMs: 0 }, false))).toEqual(['expire'])
  for (const ending of ['returned', 'failed', 'expired', 'stopped'] as const)
    expect(inputsOf(changeByEnding(stopped, ending))).toEqual(['stop'])
  expect(inputsOf(changeByRelease(stopped, 500))).toEqual(['stop'])
})

test('a stop cancels a run that waits, asks the node of one that runs, and leaves one that has ended', () => {
  expect(effectOfStop(fresh)).toBe('cancels')
  expect(effectOfStop(running)).toBe('asks')
  for (const state of ['completed', 'failed', 'timeout', 'dead', 'cancelled'] as const)
    expect(effectOfStop({ state })).toBe('hasEnded')
})

test('a step that throws rests twice as long each time, up to its longest pause, and as often as it may', () => {
  const retry = { attempts: 5, backoffMs: 100, maxBackoffMs: 300 }
  expect([1, 2, 3, 4, 5].map((thrown) => pauseAfterThrowMs(thrown, retry))).toEqual([
    100,
    200,
    300,
    300,
    undefined,
  ])
  expect(pauseAfterThrowMs(1, { attempts: 1 })).toBeUndefined()
})

test('any history of claims, deaths, stops and ends keeps to the arrows, and ends once', () => {
  const happening = fc.oneof(
    fc.record({ kind: fc.constant('claim' as const), isOwnerDead: fc.boolean() }),
    fc.record({ kind: fc.constant('stop' as const) }),
    fc.record({ kind: fc.constant('release' as const), pauseMs: fc.nat(1_000) }),
    fc.record({
      kind: fc.constant('end' as const),
      ending: fc.constantFrom('returned' as const, 'failed' as const, 'expired' as const),
    }),
  )
  const settings = fc.record({
    onNodeDeath: fc.constantFrom('retry' as const, 'fail' as const),
    leftMs: fc.constantFrom(null, 0, 1_000),
  })
  fc.assert(
    fc.property(settings, fc.array(happening, { maxLength: 60 }), (given, happenings) => {
      let run: RunFacts = { ...fresh, ...given }
      let ends = 0
      const apply = (change: RunChange | undefined): void => {
        if (change === undefined) return
        const before = run
        const state = statesBy(run.state, change.inputs).at(-1) ?? run.state
        run = { ...run, state, attempt: change.attempt, deaths: change.deaths }
        if (isFinal(state)) ends += 1
        expect(run.attempt).toBe(before.attempt + (change.inputs[0] === 'claim' ? 1 : 0))
        const isHeeded = !before.isStopRequested || run.state === 'cancelled'
        expect(isHeeded).toBe(true)
      }
      for (const one of happenings) {
        const isRunning = run.state === 'running'
        if (one.kind === 'claim') apply(changeByClaim(run, one.isOwnerDead))
        else if (one.kind === 'release' && isRunning) apply(changeByRelease(run, one.pauseMs))
        else if (one.kind === 'end' && isRunning) apply(changeByEnding(run, one.ending))
        else if (one.kind === 'stop' && effectOfStop(run) === 'cancels')
          apply({ ...run, inputs: ['stop'], pauseMs: 0 })
        else if (one.kind === 'stop' && effectOfStop(run) === 'asks') run = { ...run, isStopRequested: true }
        expect(['starting', 'completing']).not.toContain(run.state)
        expect(run.deaths).toBeLessThanOrEqual(mostDeaths + 1)
      }
      expect(ends).toBe(isFinal(run.state) ? 1 : 0)
    }),
  )
})

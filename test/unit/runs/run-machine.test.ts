// The machine of a run's states, and the page that draws it.
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { runStates, type RunState } from '../../../src/protocol/index.ts'
import { phaseOf } from '../../../src/protocol/index.ts'
import { isFinal, runArrows, statesBy } from '../../../src/runs/index.ts'

test('the page of states draws exactly these arrows', () => {
  const page = readFileSync(new URL('../../../docs/reference/states.md', import.meta.url), 'utf8')
  const drawing = /<!-- runs:start -->(.*)<!-- runs:end -->/s.exec(page)?.[1] ?? ''
  const drawn = [...drawing.matchAll(/^ {2}(\S+) --> (\S+?)(?:: (\w+))?$/gm)].map(([, from, to, input]) =>
    [from, to, input].join(' '),
  )
  const arrows = runStates.flatMap((from) =>
    Object.entries(runArrows[from]).map(([input, to]) => `${from} ${to} ${input}`),
  )
  const ends = runStates.filter(isFinal).map((state) => `${state} [*] `)
  expect(drawn.toSorted()).toEqual(['[*] pending start', ...arrows, ...ends].toSorted())
})

test('the page of states names the phase of each state at rest', () => {
  const page = readFileSync(new URL('../../../docs/reference/states.md', import.meta.url), 'utf8')
  const rows = [...page.matchAll(/^\| `(\w+)` +\| `(\w+)` +\|/gm)].map(([, state, phase]) => [state, phase])
  const atRest = runStates.filter((state) => state !== 'starting' && state !== 'completing')
  expect(rows).toEqual(atRest.map((state) => [state, phaseOf(state)]))
})

test('every state is reached, and every final state is one that a screen shows as ended', () => {
  const reached = new Set<RunState>(['pending'])
  for (const state of reached) for (const next of Object.values(runArrows[state])) reached.add(next)
  expect([...reached].toSorted()).toEqual([...runStates].toSorted())
  for (const state of runStates)
    expect(['completed', 'failed', 'stopped'].includes(phaseOf(state))).toBe(isFinal(state))
})

test('inputs that belong together pass through the state between them', () => {
  expect(statesBy('pending', ['claim', 'begin'])).toEqual(['starting', 'running'])
  expect(statesBy('running', ['return', 'save'])).toEqual(['completing', 'completed'])
  expect(() => statesBy('completed', ['stop'])).toThrow('a run that is completed takes no "stop"')
})

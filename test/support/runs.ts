// Reads of runs for tests, past Lockstep.
import { expect } from 'vitest'
import type { RunStateData } from '../../src/protocol/index.ts'
import { runArrows } from '../../src/runs/index.ts'
import type { World } from './world.ts'

/** The states of a run in the order of its channel, as its events tell them. */
export async function statesOf(world: World, run: string, channel: string): Promise<readonly string[]> {
  const events = await world.eventsOf(channel)
  return events
    .filter(({ type, data }) => type === 'run.state' && (data as RunStateData).runId === run)
    .map(({ data }) => (data as RunStateData).state)
}

/** Checks that the states of a run follow the arrows, and that the last one is that of its row. */
export async function expectStates(world: World, run: string, channel: string): Promise<void> {
  const states = (await statesOf(world, run, channel)) as readonly (keyof typeof runArrows)[]
  expect(states[0]).toBe('pending')
  for (const [index, state] of states.entries()) {
    const next = states[index + 1]
    if (next !== undefined) expect(Object.values(runArrows[state])).toContain(next)
  }
  expect(await world.rows('select state from lockstep.runs where id = $1', [run])).toEqual([
    { state: states.at(-1) },
  ])
}

export async function stepsOf(world: World, run: string): Promise<readonly string[]> {
  const rows = await world.rows<{ name: string }>(
    'select name from lockstep.run_steps where run = $1 order by place',
    [run],
  )
  return rows.map(({ name }) => name)
}

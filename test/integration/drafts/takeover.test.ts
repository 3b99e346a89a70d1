// Drafts of a run whose node dies: the claim of the next attempt retracts them, and `keep` commits what was shown.
import { afterEach, expect, it } from 'vitest'
import { z } from 'zod'
import { defineChannel } from '../../../src/core/index.ts'
import { createWorld, type World } from '../../support/world.ts'
import { eventually } from '../../support/eventually.ts'

const events = { said: z.object({ text: z.string() }) }
const drafts = { answer: z.string() }
const options = { events, drafts, canSubscribe: () => true }
const talk = defineChannel<'talk:{id}', typeof events, false, typeof drafts>('talk:{id}', options)

const worlds: World[] = []
afterEach(async () => {
  for (const world of worlds.splice(0).toReversed()) await world.close()
})

async function createNode(databaseUrl?: string): Promise<World> {
  const world = await createWorld({
    bus: false,
    leaseMs: 60_000,
    declare: (lockstep) => void lockstep.channel('talk:{id}', options),
    ...(databaseUrl === undefined ? {} : { databaseUrl }),
  })
  worlds.push(world)
  return world
}

const declare = (world: World, id: string, onNodeDeath: 'keep' | 'retry', hangs: boolean) =>
  world.lockstep.task('answer', {
    input: z.object({}),
    channel: () => talk({ id }),
    onNodeDeath,
    async run({ step, channel }) {
      await step.do('answer', {
        async work({ draft, previous, signal }) {
          const before = previous('answer').join('')
          draft('answer').append(hangs ? 'half' : `whole after ${before}`)
          if (hangs)
            await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
          return draft('answer').text
        },
        async commit(tx, text, { stopped, attempt }) {
          tx.emit(channel, 'said', { text: `${text}, ${stopped}, ${attempt}` })
        },
      })
    },
  })

it.each([
  ['keep', 'half, true, 2'],
  ['retry', 'whole after half, false, 2'],
] as const)('a run that is taken over under %s', async (onNodeDeath, text) => {
  const first = await createNode()
  const run = await declare(first, 'a', onNodeDeath, true).start({}, { user: 'ada' })
  await eventually(async () =>
    expect(await first.rows('select chunks from lockstep.draft_chunks')).toEqual([{ chunks: ['half'] }]),
  )
  const [shown] = await first.rows<{ operation_id: string }>('select operation_id from lockstep.drafts')
  const second = await createNode(first.url)
  const task = declare(second, 'a', onNodeDeath, false)
  await first.rows(
    `update lockstep.nodes set lease_until = clock_timestamp() - interval '1 second'
     where node = (select node from lockstep.runs where id = $1)`,
    [run.id],
  )
  expect(await task.ended(run)).toMatchObject({ state: 'completed' })
  const told = (await second.eventsOf('talk:a')).filter(({ type }) => type !== 'run.state')
  expect(told.map(({ type }) => type)).toEqual(['draft.retracted', 'said'])
  expect(told[0]?.operation_id).toBe(shown?.operation_id)
  expect(told[1]?.data).toEqual({ text })
})

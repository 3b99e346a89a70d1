import { expect, it } from 'vitest'
import { z } from 'zod'
import { serverUser } from '../../../src/index.ts'
import { createWorld } from '../../support/world.ts'

it('a run of the server calls operations as the server', async () => {
  const world = await createWorld({ bus: false })
  try {
    const { addNote } = world
    const task = world.lockstep.task('nightly', {
      input: z.object({}),
      async run({ user, step }) {
        return step.do('call', async () => {
          const note = { room: 'a', id: 'n', text: 'x', fail: false }
          return (await addNote.call(note, { user })).outcome
        })
      },
    })
    const run = await task.start({}, { user: serverUser })
    expect(await task.ended(run)).toEqual({ state: 'completed', result: 'committed' })
  } finally {
    await world.close()
  }
})

// Calls and reads on the server: what they answer has the type that it says.
import { afterAll, beforeAll, expect, it } from 'vitest'
import { z } from 'zod'
import { newOperationId } from '../../../src/index.ts'
import { createWorld, room, type World } from '../../support/world.ts'

let world: World
beforeAll(async () => {
  world = await createWorld()
})
afterAll(() => world.close())

it('a call without an id answers with what run returned, and one with an id with what JSON makes of it, as its copies do', async () => {
  const at = new Date(0)
  const stamp = world.lockstep.operation('stamp', { input: z.object({}), run: async () => ({ at }) })
  expect(await stamp.call({}, { user: 'ada' })).toMatchObject({ result: { at } })
  const options = { user: 'ada', id: newOperationId() }
  const first = await stamp.call({}, options)
  expect(first).toMatchObject({ result: { at: '1970-01-01T00:00:00.000Z' } })
  expect(await stamp.call({}, options)).toEqual(first)
  const work = async () => ({ at })
  expect(await world.lockstep.transaction({ name: 'stamp', user: 'ada' }, work)).toEqual({ at })
  expect(await world.lockstep.transaction({ ...options, name: 'other', id: newOperationId() }, work)).toEqual(
    {
      at: '1970-01-01T00:00:00.000Z',
    },
  )
})

it('a read answers with JSON, and with the positions of the channels that it has asked for', async () => {
  await world.addNote.call({ room: 'read', id: 'r1', text: 'x' }, { user: 'ada' })
  const notes = world.lockstep.query('notes', {
    input: z.object({ room: z.string() }),
    authorize: ({ user }) => user.id === 'ada',
    async run({ input, position }) {
      await position(room({ id: input.room }))
      return { at: new Date(0) }
    },
  })
  expect(await notes.read({ room: 'read' }, { user: 'ada' })).toEqual({
    value: { at: '1970-01-01T00:00:00.000Z' },
    positions: { 'room:read': { offset: 1, epoch: expect.any(String) } },
  })
  await expect(notes.read({ room: 'read' }, { user: 'eve' })).rejects.toMatchObject({ code: 'LS_FORBIDDEN' })
  await expect(notes.read({ room: 5 } as never, { user: 'ada' })).rejects.toMatchObject({
    code: 'LS_INPUT_INVALID',
  })
})

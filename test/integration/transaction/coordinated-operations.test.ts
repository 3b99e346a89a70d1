import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { executeCoordinatedOperation } from '../../../src/plan.ts'
import { createWorld, room, type World } from '../../support/world.ts'

let world: World

beforeAll(async () => {
  world = await createWorld()
})
afterAll(() => world.close())

const noted = (id: string) => world.rows('select text from notes where id = $1', [id])

/** Reads the notices of a user from the log. */
const noticesOf = async (user: string) =>
  (await world.eventsOf(`user:${user}`)).filter(({ type }) => type === 'transaction_rolled_back')

describe('executeCoordinatedOperation', () => {
  it('holds events and agent states together with the database operation', async () => {
    const updates: string[] = []
    const result = await executeCoordinatedOperation(world.lockstep, {
      operationName: 'coordinated',
      user: 'ada',
      databaseOperation: async (tx) => {
        await tx.db.query(`insert into notes values ('coordinated', 'x')`)
        return { saved: true }
      },
      websocketEvents: [{ channel: room({ id: 'coordinated' }), type: 'counted', data: { n: 1 } }],
      agentStateUpdates: [() => Promise.resolve(void updates.push('completed'))],
    })
    expect(result).toEqual({ saved: true })
    expect(updates).toEqual(['completed'])
    expect(await world.eventsOf('room:coordinated')).toHaveLength(1)

    await expect(
      executeCoordinatedOperation(world.lockstep, {
        operationName: 'coordinated',
        databaseOperation: (tx) => tx.db.query(`insert into notes values ('undone', 'x')`),
        websocketEvents: [{ channel: room({ id: 'coordinated' }), type: 'counted', data: { n: 2 } }],
        agentStateUpdates: [() => Promise.reject(new Error('agent'))],
      }),
    ).rejects.toThrow('agent')
    expect(await noted('undone')).toEqual([])
    expect(await world.eventsOf('room:coordinated')).toHaveLength(1)
    expect(await noticesOf('lockstep:server')).toHaveLength(1)
  })

  it.each([
    ['one event', { channel: room({ id: 'answered' }), type: 'counted', data: { n: 1 } }, /a list/],
    ['nothing', undefined, /websocketEvents\(\)/],
    ['a promise', Promise.resolve([]), /a promise/],
    ['a list with something else', [null], /websocketEvents\(\)\[0\]/],
  ])('is rolled back where the function for its events answers with %s', async (_, answer, words) => {
    await expect(
      executeCoordinatedOperation(world.lockstep, {
        operationName: 'coordinated',
        databaseOperation: (tx) => tx.db.query(`insert into notes values ('answered', 'x')`),
        websocketEvents: () => answer as never,
      }),
    ).rejects.toMatchObject({ code: 'LS_CONFIG_INVALID', message: expect.stringMatching(words) as string })
    expect(await noted('answered')).toEqual([])
    expect(await world.eventsOf('room:answered')).toEqual([])
  })
})

// The isolation level of an operation, whatever the default of the database is: one effect, and a conflict runs again.
import { PGlite } from '@electric-sql/pglite'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import {
  createLockstep,
  fromPglite,
  newOperationId,
  silentLogger,
  type Isolation,
} from '../../../src/index.ts'
import { createWorld, room, type World } from '../../support/world.ts'

const levels = ['read committed', 'repeatable read', 'serializable'] as const

let world: World
beforeAll(async () => {
  world = await createWorld()
  await world.direct.query('create table counters (id text primary key, n integer not null)')
})
afterAll(() => world.close())

/** Counts one up in two statements, so that two at once lose one where nothing forbids it. */
const declareCount = (name: string, isolation: Isolation, meet: () => Promise<void>) =>
  world.lockstep.operation(name, {
    input: z.object({ id: z.string() }),
    isolation,
    async run({ input, tx }) {
      const { rows } = await tx.db.query<{ n: number }>('select n from counters where id = $1', [input.id])
      await meet()
      const n = (rows[0]?.n ?? 0) + 1
      await tx.db.query('update counters set n = $2 where id = $1', [input.id, n])
      tx.emit(room({ id: input.id }), 'counted', { n })
      const level = await tx.db.query<{ transaction_isolation: string }>('show transaction_isolation')
      return level.rows[0]?.transaction_isolation
    },
  })

/** Lets the first two go on together, and later ones, such as another attempt, at once. */
function meeting(): () => Promise<void> {
  let count = 0
  let both = (): void => {}
  const met = new Promise<void>((resolve) => (both = resolve))
  return () => {
    count += 1
    if (count === 2) both()
    return met
  }
}

describe.each(levels)('%s', (isolation) => {
  const name = isolation.replace(' ', '_')

  it.each(levels)('is what the operation gets where the default of the database is %s', async (standard) => {
    const id = `${name}-${standard.replace(' ', '-')}`
    await world.direct.query('insert into counters values ($1, 0)', [id])
    const database = new URL(world.url).pathname.slice(1)
    await world.direct.query(`alter database "${database}" set default_transaction_isolation = '${standard}'`)
    const other = await createWorld({ databaseUrl: world.url })
    try {
      const read = other.lockstep.operation('read_level', {
        input: z.object({}),
        isolation,
        run: async ({ tx }) =>
          (await tx.db.query<{ transaction_isolation: string }>('show transaction_isolation')).rows[0],
      })
      expect(await read.call({}, { user: 'ada' })).toMatchObject({
        result: { transaction_isolation: isolation },
      })
    } finally {
      await other.close()
      await world.direct.query(`alter database "${database}" reset default_transaction_isolation`)
    }
  })

  it('loses no update above read committed: the second of two runs again, and both events are there', async () => {
    const id = `two-${name}`
    await world.direct.query('insert into counters values ($1, 0)', [id])
    const count = declareCount(`count_${name}`, isolation, meeting())
    const outcomes = await Promise.all(['ada', 'bob'].map((user) => count.call({ id }, { user })))
    expect(outcomes).toMatchObject([{ outcome: 'committed', result: isolation }, { outcome: 'committed' }])
    const isLost = isolation === 'read committed'
    expect(await world.rows('select n from counters where id = $1', [id])).toEqual([{ n: isLost ? 1 : 2 }])
    const events = await world.eventsOf(`room:${id}`)
    expect(events.map(({ offset, data }) => [offset, data])).toEqual([
      ['1', { n: 1 }],
      ['2', { n: isLost ? 1 : 2 }],
    ])
  })

  it('has one effect for copies that are sent at once', async () => {
    const id = `copies-${name}`
    await world.direct.query('insert into counters values ($1, 0)', [id])
    const count = declareCount(`copy_${name}`, isolation, () => Promise.resolve())
    const options = { user: 'ada', id: newOperationId() }
    const outcomes = await Promise.all([1, 2, 3].map(() => count.call({ id }, options)))
    expect(new Set(outcomes.map((outcome) => JSON.stringify(outcome))).size).toBe(1)
    expect(await world.eventsOf(`room:${id}`)).toHaveLength(1)
  })

  it('is there on PGlite, too', async () => {
    const pglite = new PGlite()
    const lockstep = createLockstep({ database: fromPglite(pglite), logger: silentLogger })
    const read = lockstep.operation('read_level', {
      input: z.object({}),
      isolation,
      run: async ({ tx }) => (await tx.db.query('show transaction_isolation')).rows[0] as unknown,
    })
    expect(await read.call({}, { user: 'ada' })).toMatchObject({
      result: { transaction_isolation: isolation },
    })
    await lockstep.close()
    await pglite.close()
  })
})

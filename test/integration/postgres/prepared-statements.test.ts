// Prepared statements behind a pooler that knows nothing of them, which is shown by taking them away from the server.
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { send } from '../../../src/postgres/pg-statements.ts'
import { DatabaseState } from '../../../src/postgres/database-state.ts'
import { StatementNames } from '../../../src/postgres/statement-names.ts'
import { TimeLimit } from '../../../src/core/index.ts'
import { createWorld, room, type World } from '../../support/world.ts'

let world: World
beforeAll(async () => {
  world = await createWorld({ poolSize: 1 })
})
afterAll(() => world.close())

const prepared = async (): Promise<readonly string[]> =>
  (await world.pool.query<{ name: string }>('select name from pg_prepared_statements')).rows.map(
    ({ name }) => name,
  )

describe('a flush', () => {
  const post = (id: string) => world.addNote.call({ room: '1', id, text: 'hello' }, { user: 'ann' })

  it('is prepared once for a connection', async () => {
    expect(await post('a')).toMatchObject({ outcome: 'committed' })
    expect(await post('b')).toMatchObject({ outcome: 'committed' })
    expect(await prepared()).toEqual([expect.stringMatching(/^lockstep_flush_event_[0-9a-f]{8}$/)])
  })

  it('whose preparation the server does not have is tried again without, and then always', async () => {
    await world.pool.query('deallocate all')
    expect(await post('c')).toMatchObject({ outcome: 'committed' })
    expect(await world.rows('select id from notes order by id')).toEqual([
      { id: 'a' },
      { id: 'b' },
      { id: 'c' },
    ])
    expect((await world.eventsOf('room:1')).map(({ offset }) => Number(offset))).toEqual([1, 2, 3])
    expect(await post('d')).toMatchObject({ outcome: 'committed' })
    expect(await prepared()).toEqual([])
  })

  it('writes several events of one channel together, in their order, as those of several channels', async () => {
    for (const channels of [['2'], ['2', '3']]) {
      await world.lockstep.transaction({ name: 'many', user: 'ann' }, async (tx) => {
        for (let n = 1; n <= 3; n++) for (const id of channels) tx.emit(room({ id }), 'counted', { n })
      })
    }
    const events = await world.eventsOf('room:2')
    expect(events.map(({ offset, data }) => [Number(offset), data])).toEqual([
      [1, { n: 1 }],
      [2, { n: 2 }],
      [3, { n: 3 }],
      [4, { n: 1 }],
      [5, { n: 2 }],
      [6, { n: 3 }],
    ])
    const positions = await world.rows<{ positions: unknown }>(
      `select positions from lockstep.operations where name = 'many' order by settled_at`,
    )
    expect(positions.map((row) => row.positions)).toEqual([{ 'room:2': 3 }, { 'room:2': 6, 'room:3': 3 }])
  })
})

it('a statement on its own is sent again, and answers', async () => {
  const pool = new pg.Pool({ connectionString: world.url, max: 1 })
  const options = {
    limit: new TimeLimit(10_000),
    names: new StatementNames(true),
    state: new DatabaseState(),
    schemaName: 'lockstep',
  }
  const statement = { text: 'select $1::int + 1 as next', values: [1], name: 'lockstep_next' }
  try {
    expect((await send(pool, statement, options)).rows).toEqual([{ next: 2 }])
    await pool.query('deallocate all')
    expect((await send(pool, statement, options)).rows).toEqual([{ next: 2 }])
    expect(options.names.of('lockstep_next')).toBe(undefined)
  } finally {
    await pool.end()
  }
})

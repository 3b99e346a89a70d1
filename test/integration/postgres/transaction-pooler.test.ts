// A node behind a pooler in transaction mode: all of it works but the Postgres bus.
import pg from 'pg'
import { afterAll, beforeAll, beforeEach, describe, expect, inject, it } from 'vitest'
import { fromPool, newOperationId, postgresBus } from '../../../src/index.ts'
import { walkThrough } from '../../conformance/settings-conformance.ts'
import { createTestDatabase } from '../../support/database.ts'
import { createSettingsWorld } from '../../support/settings-world.ts'
import { shadowing } from '../../support/shadowing.ts'
import { centrifuge, connected, listen, serve } from '../../support/sockets.ts'
import { startTransactionPooler, type TransactionPooler } from '../../support/transaction-pooler.ts'
import { createWorld } from '../../support/world.ts'

let pooler: TransactionPooler
let before = 0

beforeAll(async () => {
  pooler = await startTransactionPooler(inject('postgres').url)
})
beforeEach(() => {
  before = pooler.handovers
})
afterAll(() => pooler.close())

const through = (url: string): string => pooler.through(url)

describe('behind a pooler in transaction mode the whole path is the same', { timeout: 60_000 }, () => {
  it('with the settings of Postgres', async () => {
    await expect(walkThrough({ through })).resolves.toBeUndefined()
    expect(pooler.handovers - before).toBeGreaterThan(50)
  })

  it('with settings of the database that change what names and texts mean', async () => {
    await expect(
      walkThrough({
        through,
        before: shadowing,
        database: {
          search_path: 'app, pg_catalog, public',
          datestyle: `'German, DMY'`,
          default_transaction_isolation: 'serializable',
          statement_timeout: '2000',
        },
      }),
    ).resolves.toBeUndefined()
    expect(pooler.handovers - before).toBeGreaterThan(50)
  })
})

it('sets nothing that the next client of a connection would find', async () => {
  const world = await createSettingsWorld({ through })
  try {
    const { lockstep } = await world.startNode()
    await lockstep.transaction({ name: 'work', user: 'ada' }, async ({ db }) => {
      await db.query('select 1')
    })
    const other = new pg.Pool({ connectionString: through(world.url), max: 1 })
    const names = ['search_path', 'lockstep.operation', 'statement_timeout', 'application_name']
    const found = new Set<unknown>()
    for (let round = 0; round < 20; round++) {
      const { rows } = await other.query<{ settings: unknown }>(
        `select array(select coalesce(current_setting(name, true), '') from unnest($1::text[]) name) as settings`,
        [names],
      )
      found.add(JSON.stringify(rows[0]?.settings))
    }
    await other.end()
    expect([...found]).toEqual(['["\\"$user\\", public","","0",""]'])
  } finally {
    await world.close()
  }
})

it.each([
  ['hears nothing over the pooler, and says so', through, 'down'],
  ['hears all over a database that is reached directly', (url: string): string => url, 'up'],
] as const)(
  'the Postgres bus %s; events reach the other node in any case',
  async (_, way, state) => {
    const test = await createTestDatabase()
    const pool = new pg.Pool({ connectionString: way(test.url), max: 1 })
    const database = fromPool(pool)
    const openNode = () =>
      createWorld({ databaseUrl: test.url, through, bus: postgresBus(database, { selfTestMs: 200 }) })
    const writer = await openNode()
    const reader = await openNode()
    const served = await serve(reader)
    const ben = await connected(centrifuge(served.url, 'ben'))
    try {
      const { inbox } = await listen(ben, 'room:lobby')
      const input = { room: 'lobby', id: newOperationId(), text: 'hello' }
      expect(await writer.addNote.call(input, { user: 'ada' })).toMatchObject({ outcome: 'committed' })
      await inbox.until((items) => items.length === 1)
      const bus = async () => {
        const health = (await writer.lockstep.health.report()).bus
        return {
          state: health.state,
          isExplained: /is there a pooler in transaction mode\?/.test(health.problem ?? ''),
        }
      }
      await expect.poll(bus, { timeout: 10_000 }).toEqual({ state, isExplained: state === 'down' })
    } finally {
      ben.disconnect()
      await Promise.all([writer.close(), reader.close()])
      await served.close()
      await database.close()
      await pool.end()
      await test.drop()
    }
  },
  60_000,
)

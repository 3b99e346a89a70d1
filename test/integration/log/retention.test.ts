// Retention on a real database: events and outcomes that are old enough go page by page, and no others.
import pg from 'pg'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { systemClock } from '../../../src/core/index.ts'
import { Retention } from '../../../src/log/index.ts'
import {
  eventPages,
  fromPool,
  operationPages,
  trimEvents,
  trimOperations,
} from '../../../src/postgres/index.ts'
import { createTestDatabase, type TestDatabase } from '../../support/database.ts'
import { createTestLogger } from '../../support/world.ts'

const schema = '"lockstep"'
let test: TestDatabase
let pool: pg.Pool
let database: ReturnType<typeof fromPool>

beforeAll(async () => {
  test = await createTestDatabase()
  pool = new pg.Pool({ connectionString: test.url, max: 4 })
  database = fromPool(pool)
})
afterAll(async () => {
  await database.close()
  await pool.end()
  await test.drop()
})

it('removes expired history page by page, and nothing else', async () => {
  const channel = 'room:old'
  await pool.query(
    `insert into lockstep.events (channel, "offset", operation_id, type, data, at)
     select $1, n, gen_random_uuid(), 'counted', '{}', now() from generate_series(1, 2000) n`,
    [channel],
  )
  await pool.query(
    `update lockstep.events set at = now() - interval '2 hours' where channel = $1 and "offset" <= 1500`,
    [channel],
  )
  await pool.query(
    `with old as (
       insert into lockstep.operations (id, name, user_id, input_hash, state, settled_at)
       select gen_random_uuid(), case when n % 2 = 0 then 'old' else 'noted' end, 'ada', 'x', 'committed',
              now() - interval '2 hours'
       from generate_series(1, 100) n returning id, name)
     insert into lockstep.intents (node, slot, batch, ids, names, user_ids, input_hashes)
     select gen_random_uuid(), 0, 1, array_agg(id), array_agg(name), array_agg('ada'::text), array_agg('x'::text)
     from old where name = 'noted'`,
  )
  const hourMs = 3_600_000
  const kept = { outcomesMs: hourMs, closedIdsMs: hourMs }
  const retention = new Retention({
    own: database.own,
    clock: systemClock,
    logger: createTestLogger(),
    pagesPerStep: 4,
    tables: [
      { pages: () => eventPages(schema), trim: (page, pages) => trimEvents(schema, hourMs, page, pages) },
      {
        pages: () => operationPages(schema),
        trim: (page, pages) => trimOperations(schema, kept, page, pages),
      },
    ],
  })
  let steps = 1
  while (!(await retention.step())) steps++
  expect(steps).toBeGreaterThan(3)
  const { rows } = await pool.query(
    `select min("offset")::int as first, count(*)::int as kept from lockstep.events where channel = $1`,
    [channel],
  )
  expect(rows).toEqual([{ first: 1_501, kept: 500 }])
  // Outcomes of operations that an intent names are kept: without them, a node that settles the intent would report
  // rollbacks.
  const { rows: left } = await pool.query(
    `select name, count(*)::int as kept from lockstep.operations group by name`,
  )
  expect(left).toEqual([{ name: 'noted', kept: 50 }])
})

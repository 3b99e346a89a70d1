import pg from 'pg'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { fromPool } from '../../src/index.ts'
import { NodeLease } from '../../src/transaction/index.ts'
import { createTestDatabase } from '../support/database.ts'
import { createTestLogger } from '../support/world.ts'
import { ManualClock } from './gateway-harness.ts'

let test: Awaited<ReturnType<typeof createTestDatabase>>
let pool: pg.Pool

beforeAll(async () => {
  test = await createTestDatabase()
  pool = new pg.Pool({ connectionString: test.url, max: 1 })
})
afterAll(async () => {
  await pool.end()
  await test.drop()
})

it('a node whose lease has run out takes a new one in the same renewal, under another id', async () => {
  const database = fromPool(pool)
  await database.migrate()
  const clock = new ManualClock()
  const logger = createTestLogger()
  const lease = new NodeLease({ ...database, clock, logger })
  await lease.start()
  const first = lease.node
  await pool.query(`update lockstep.nodes set lease_until = '-infinity'`)
  clock.advance(1_000)
  await expect.poll(() => logger.lines.map(({ level }) => level)).toEqual(['error', 'info'])
  expect(lease.state).toBe('held')
  expect(lease.node).not.toBe(first)
  // What it begins from now on is safe from whoever settles the lease before.
  const { rows } = await pool.query('select node from lockstep.nodes where lease_until > now()')
  expect(rows).toEqual([{ node: lease.node }])
  await lease.release()
  await database.close()
})

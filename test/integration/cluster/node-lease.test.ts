import pg from 'pg'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { createLockstep, fromPool } from '../../../src/index.ts'
import { systemClock, type Queryable, type Statement } from '../../../src/core/index.ts'
import { EpochWatch, NodeLease } from '../../../src/cluster/index.ts'
import { createTestDatabase } from '../../support/database.ts'
import { createTestLogger } from '../../support/world.ts'
import { ManualClock } from '../../support/manual-clock.ts'

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

const epochsOf = (database: ReturnType<typeof fromPool>, logger = createTestLogger()): EpochWatch =>
  new EpochWatch({ ...database, clock: systemClock, logger })

it('a node whose lease has run out takes a new one in the same renewal, under another id', async () => {
  const database = fromPool(pool)
  await database.migrate()
  const clock = new ManualClock()
  const logger = createTestLogger()
  const lease = new NodeLease({ ...database, clock, logger, epochs: epochsOf(database, logger) })
  await lease.start()
  const first = lease.node
  await pool.query(`update lockstep.nodes set lease_until = '-infinity'`)
  clock.advance(1_000)
  await expect.poll(() => logger.lines.map(({ level }) => level)).toEqual(['error', 'info'])
  expect(lease.state).toBe('held')
  expect(lease.node).not.toBe(first)
  // Operations begin under the new lease from now on: settling the old one does not touch them.
  const { rows } = await pool.query('select node from lockstep.nodes where lease_until > now()')
  expect(rows).toEqual([{ node: lease.node }])
  await lease.release()
  await database.close()
})

it('a lease that is given back while a renewal finds that it has run out stays given back', async () => {
  const database = fromPool(pool)
  await database.migrate()
  const clock = new ManualClock()
  let asked = 0
  let letGo = (): void => {}
  const gate = new Promise<void>((resolve) => (letGo = resolve))
  const own: Queryable = {
    async query<Row>(statement: Statement) {
      asked += 1
      if (statement.text.startsWith('update') && statement.text.includes('returning')) await gate
      return database.own.query<Row>(statement)
    },
  }
  const lease = new NodeLease({
    own,
    schema: database.schema,
    clock,
    logger: createTestLogger(),
    epochs: epochsOf(database),
  })
  await lease.start()
  await pool.query(`update lockstep.nodes set lease_until = '-infinity'`)
  clock.advance(1_000)
  await expect.poll(() => asked).toBe(3)
  const releasing = lease.release()
  letGo()
  await releasing
  expect(lease.state).toBe('released')
  const { rows } = await pool.query('select node from lockstep.nodes where lease_until > now()')
  expect(rows).toEqual([])
  // Released, the lease has no timer left that renews it.
  const before = asked
  clock.advance(10_000)
  expect(asked).toBe(before)
  await database.close()
})

it('a renewal that is not answered does not hold up the next one, and what it says late undoes nothing', async () => {
  const database = fromPool(pool)
  await database.migrate()
  const clock = new ManualClock()
  const logger = createTestLogger()
  const silent: (() => void)[] = []
  let [renewals, answered] = [0, 0]
  const own: Queryable = {
    async query<Row>(statement: Statement) {
      const isRenewal = statement.text.startsWith('update') && statement.text.includes('returning')
      if (isRenewal) renewals += 1
      // The first renewal's connection breaks in silence, and is given up after ten seconds.
      if (isRenewal && renewals === 1) {
        await new Promise<void>((resolve) => silent.push(resolve))
        throw new Error('no answer in time')
      }
      const answer = await database.own.query<Row>(statement)
      if (isRenewal) answered += 1
      return answer
    },
  }
  const lease = new NodeLease({
    own,
    schema: database.schema,
    clock,
    logger,
    epochs: epochsOf(database, logger),
  })
  await lease.start()
  const { node } = lease
  for (let second = 1; second <= 8; second++) {
    clock.advance(1_000)
    await expect.poll(() => answered).toBe(second - 1)
    expect(lease.state).toBe('held')
  }
  for (const giveUp of silent) giveUp()
  await expect.poll(() => logger.lines.map(({ message }) => message)).toEqual(['the lease was not renewed'])
  expect(lease.state).toBe('held')
  await lease.release()
  expect(lease.node).toBe(node)
  expect(lease.state).toBe('released')
  await database.close()
})

it('a node that could not start takes one lease however often it tries, and gives it back when it ends', async () => {
  const living = async () =>
    (await pool.query('select node from lockstep.nodes where lease_until > now()')).rowCount
  const clock = new ManualClock()
  const logger = createTestLogger()
  const database = fromPool(pool)
  const lockstep = createLockstep({ database, clock, logger, bus: false })
  await database.migrate()
  await pool.query('alter table lockstep.rollouts rename to away')
  try {
    await expect(lockstep.start()).rejects.toThrow('rollouts')
    await expect(lockstep.start()).rejects.toThrow('rollouts')
    expect(await living()).toBe(1)
    await lockstep.close({ drainMs: 0 })
    expect(await living()).toBe(0)
    clock.advance(10_000)
    // No renewal, and no other attempt, has followed.
    expect(logger.lines.map(({ message }) => message)).toEqual([expect.stringContaining('could not start')])
  } finally {
    await pool.query('alter table lockstep.away rename to rollouts')
  }
})

it('a node keeps its lease while all of its own connections are busy, and the pool with them', async () => {
  const ownConnections = 2
  const database = fromPool(pool, { ownConnections })
  const lockstep = createLockstep({ database, leaseMs: 900, logger: createTestLogger(), bus: false })
  await lockstep.start()
  const { node } = await lockstep.health.report()
  const direct = new pg.Client({ connectionString: test.url })
  await direct.connect()
  await direct.query('create table hold ()')
  await direct.query('begin')
  await direct.query('lock table hold')
  const statement = { text: 'select from public.hold' }
  const held = Array.from({ length: 3 * ownConnections }, () => database.own.query(statement))
  const inPool = pool.query(statement.text)
  const leaseUntil = async (): Promise<number> => {
    const { rows } = await direct.query<{ until: number }>(
      'select extract(epoch from lease_until)::float8 as until from lockstep.nodes where node = $1',
      [node],
    )
    return rows[0]?.until ?? 0
  }
  const before = await leaseUntil()
  // Waits until the lease has moved further than it lives without a renewal.
  await expect.poll(async () => (await leaseUntil()) - before, { timeout: 20_000 }).toBeGreaterThan(1.8)
  const { rows } = await direct.query('select node from lockstep.nodes where lease_until > clock_timestamp()')
  expect(rows).toEqual([{ node }])
  await direct.query('rollback')
  await Promise.all([...held, inPool])
  await direct.query('drop table hold')
  await direct.end()
  await lockstep.close({ drainMs: 0 })
})

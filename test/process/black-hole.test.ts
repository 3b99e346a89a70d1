// A database that neither answers nor breaks the connection: a partition, or a machine that died silently.
import pg from 'pg'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { createLockstep, fromPool, newOperationId } from '../../src/index.ts'
import { createFaultProxy, type FaultProxy } from '../faults/proxy.ts'
import { createTestDatabase, type TestDatabase } from '../support/database.ts'
import { createTestLogger } from '../support/world.ts'

let test: TestDatabase
let proxy: FaultProxy
let pool: pg.Pool
let direct: pg.Pool
let lockstep: ReturnType<typeof create>

function create(url: string) {
  pool = new pg.Pool({ connectionString: url, max: 4, pipeline: true })
  return createLockstep({
    database: fromPool(pool, { statementTimeoutMs: 500, acquireTimeoutMs: 500 }),
    logger: createTestLogger(),
  })
}

beforeAll(async () => {
  test = await createTestDatabase()
  const port = Number(new URL(test.url).port)
  proxy = await createFaultProxy({ target: () => port })
  const url = new URL(test.url)
  url.port = String(proxy.port)
  direct = new pg.Pool({ connectionString: test.url, max: 2 })
  await direct.query('create table things (id uuid primary key)')
  lockstep = create(url.href)
  await lockstep.start()
})
afterAll(async () => {
  await lockstep.close({ drainMs: 100 })
  await pool.end()
  await direct.end()
  await proxy.close()
  await test.drop()
})

const insert = (id: string) =>
  lockstep.transaction({ name: 'insert', user: 'ada', id }, async (tx) => {
    await tx.db.query('insert into things values ($1)', [id])
    for (const link of proxy.links) link.blackHole()
  })

it('gives the connection up, answers the truth, and leaves the outcome with its notice', async () => {
  const id = newOperationId()
  // The flush and the COMMIT vanish, and so does all else on the connections there are; new connections get through.
  await expect(insert(id)).rejects.toBeInstanceOf(Error)
  await expect
    .poll(async () => (await direct.query('select state from lockstep.operations where id = $1', [id])).rows)
    .toEqual([{ state: 'rolled_back' }])
  expect((await direct.query('select 1 from things')).rows).toEqual([])
  const { rows } = await direct.query(
    `select data ->> 'transactionId' as id from lockstep.events where channel = 'user:ada'`,
  )
  expect(rows).toEqual([{ id }])
})

// Flights: BEGIN travels with the first statement, COMMIT with the flush, each flight with one Sync. Tests of what
// could go wrong with that.
import { once } from 'node:events'
import { setTimeout as elapsed } from 'node:timers/promises'
import pg from 'pg'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { fromPool, newOperationId, type PgDatabase } from '../../../src/index.ts'
import type { Database, DatabaseSession, OpenTransaction } from '../../../src/core/index.ts'
import { MessageReader, type Message } from '../../faults/postgres-messages.ts'
import { createFaultProxy, type FaultProxy, type Interceptor, type Link } from '../../faults/proxy.ts'
import { createTestDatabase, type TestDatabase } from '../../support/database.ts'

let test: TestDatabase
let proxy: FaultProxy
let pool: pg.Pool
let direct: pg.Pool
let database: Database<PgDatabase>
/** Messages of the pool's client, by the letters of the protocol, one text for each flight. */
let flights: string[]
let rewrite: (message: Message) => Buffer

const begin = (id = newOperationId()): Promise<OpenTransaction<PgDatabase>> =>
  database.begin({ operationId: id })
const ids = async (): Promise<readonly string[]> =>
  (await direct.query<{ id: string }>('select id from things order by id')).rows.map(({ id }) => id)
const flush = { text: 'select 1 as n' }

beforeEach(async () => {
  test = await createTestDatabase()
  flights = []
  rewrite = ({ bytes }) => bytes
  const port = Number(new URL(test.url).port)
  proxy = await createFaultProxy({ target: () => port, intercept: watch })
  const url = new URL(test.url)
  url.port = String(proxy.port)
  pool = new pg.Pool({ connectionString: url.href, max: 1 })
  direct = new pg.Pool({ connectionString: test.url, max: 2 })
  // Dropping the database may end a connection that is still on its way out.
  direct.on('connect', (client) => client.on('error', () => {}))
  direct.on('error', () => {})
  database = fromPool(pool, { statementTimeoutMs: 500 })
  await direct.query('create table things (id text primary key)')
  // The first use of a connection asks who serves it.
  await (await begin()).rollback()
})
afterEach(async () => {
  await database.close()
  await pool.end()
  await direct.end()
  await proxy.close()
  await test.drop()
})

function watch(link: Link): Interceptor {
  const reader = new MessageReader('client')
  let flight = ''
  return {
    up(bytes) {
      const onward = reader.read(bytes).map((message) => {
        flight += message.type
        if ('SQ'.includes(message.type) && message.type !== '') {
          flights.push(flight)
          flight = ''
        }
        return rewrite(message)
      })
      link.pass('up', Buffer.concat(onward))
    },
    down: (bytes) => link.pass('down', bytes),
  }
}

it('sends two flights for BEGIN, a statement, the flush and COMMIT', async () => {
  flights = []
  const transaction = await begin()
  const { rows, rowCount } = await transaction.db.query('insert into things values ($1) returning id', ['a'])
  expect({ rows, rowCount }).toEqual({ rows: [{ id: 'a' }], rowCount: 1 })
  expect(await transaction.commit([flush])).toMatchObject({
    ending: 'committed',
    flushed: [{ rows: [{ n: 1 }] }],
  })
  expect(flights).toEqual(['PBEPBEPBDES', 'PBDEPBES'])
  expect(await ids()).toEqual(['a'])
})

it('sends one flight where there is no statement, and none for a rollback of nothing', async () => {
  flights = []
  expect((await (await begin()).commit([flush])).ending).toBe('committed')
  await (await begin()).rollback()
  expect(flights).toEqual(['PBEPBEPBDEPBES'])
})

it('a session of its own does not wait for the answer to one statement before it sends the next', async () => {
  const session = (await database.openSession?.()) as DatabaseSession
  const ask = (n: number) => session.query<{ n: number }>({ text: 'select $1::int as n', values: [n] })
  await ask(0)
  flights = []
  for (const link of proxy.links) link.stall('down')
  const answers = [1, 2, 3].map(ask)
  await expect.poll(() => flights).toEqual(['PBDES', 'PBDES', 'PBDES'])
  for (const link of proxy.links) link.heal()
  expect((await Promise.all(answers)).map(({ rows }) => rows)).toEqual([[{ n: 1 }], [{ n: 2 }], [{ n: 3 }]])
  session.destroy()
})

describe('a BEGIN that fails', () => {
  // A text as long as the original, so that the message needs no other length.
  const breakBegin = (): void => {
    rewrite = ({ type, bytes }) =>
      type === 'P' ? Buffer.from(bytes.toString('latin1').replace('begin ', 'begun '), 'latin1') : bytes
  }

  it('takes the statement behind it along, and all that come later', async () => {
    breakBegin()
    const transaction = await begin()
    const first = transaction.db.query('insert into things values ($1)', ['a'])
    const second = transaction.db.query('insert into things values ($1)', ['b'])
    await expect(first).rejects.toThrow('syntax error at or near "begun"')
    await expect(second).rejects.toThrow('syntax error at or near "begun"')
    await expect(transaction.db.query('insert into things values ($1)', ['c'])).rejects.toThrow('begun')
    expect(await transaction.commit([flush])).toMatchObject({
      ending: 'rolled_back',
      error: { message: expect.stringContaining('begun') as string },
    })
    expect(await ids()).toEqual([])
  })

  it('takes the flush and COMMIT along', async () => {
    breakBegin()
    const transaction = await begin()
    const insert = { text: `insert into things values ('a') returning id` }
    expect((await transaction.commit([insert])).ending).toBe('rolled_back')
    expect(await ids()).toEqual([])
  })
})

it('a flush that fails keeps COMMIT from running, and the connection serves on', async () => {
  const transaction = await begin()
  await transaction.db.query('insert into things values ($1)', ['a'])
  expect((await transaction.commit([{ text: 'select 1 / 0' }])).ending).toBe('rolled_back')
  expect(await ids()).toEqual([])
  const next = await begin()
  await next.db.query('insert into things values ($1)', ['b'])
  expect((await next.commit([flush])).ending).toBe('committed')
  expect(await ids()).toEqual(['b'])
  expect(proxy.links.size).toBe(1)
})

it('a flush whose parameter cannot be sent commits nothing', async () => {
  const transaction = await begin()
  await transaction.db.query('insert into things values ($1)', ['a'])
  const unsendable = {
    toPostgres(): never {
      throw new Error('no value')
    },
  }
  const ending = await transaction.commit([{ text: 'select $1::text', values: [unsendable] }])
  expect(ending.ending).not.toBe('committed')
  await expect.poll(ids).toEqual([])
})

it('statements that are sent at once run in one transaction, in their order', async () => {
  const transaction = await begin()
  const insert = (id: string) =>
    transaction.db.query(`insert into things values ($1) returning pg_current_xact_id()::text as xid`, [id])
  const results = await Promise.all(['a', 'b', 'c'].map(insert))
  expect(new Set(results.map(({ rows }) => (rows[0] as { xid: string }).xid)).size).toBe(1)
  await transaction.rollback()
  expect(await ids()).toEqual([])
})

it('a statement that waits for BEGIN when the transaction is closed is never sent', async () => {
  const transaction = await begin()
  const first = transaction.db.query('insert into things values ($1)', ['a'])
  const second = transaction.db.query('insert into things values ($1)', ['b'])
  transaction.close()
  await expect(second).rejects.toMatchObject({ code: 'LS_TRANSACTION_CLOSED' })
  await first
  expect((await transaction.commit([flush])).ending).toBe('committed')
  expect(await ids()).toEqual(['a'])
})

it('a first statement without parameters is in the transaction', async () => {
  const text = `insert into things values ('a'), ('b')`
  const undone = await begin()
  await undone.db.query(text)
  await undone.rollback()
  expect(await ids()).toEqual([])
  const transaction = await begin()
  await transaction.db.query(text)
  expect((await transaction.commit([flush])).ending).toBe('committed')
  expect(await ids()).toEqual(['a', 'b'])
})

it('a first statement may be prepared, set the isolation level, or open a savepoint', async () => {
  const named = { name: 'insert_thing', text: 'insert into things values ($1)' }
  for (const id of ['a', 'b']) {
    const transaction = await begin()
    await transaction.db.query({ ...named, values: [id] })
    expect((await transaction.commit([flush])).ending).toBe('committed')
  }
  const strict = await begin()
  await strict.db.query('set transaction isolation level serializable')
  const { rows } = await strict.db.query('show transaction_isolation')
  expect(rows).toEqual([{ transaction_isolation: 'serializable' }])
  const scope = await strict.savepoint()
  await scope.db.query({ ...named, values: ['c'] })
  await scope.rollback()
  expect((await strict.commit([flush])).ending).toBe('committed')
  const nested = await begin()
  await (await nested.savepoint()).rollback()
  expect((await nested.commit([flush])).ending).toBe('committed')
  expect(await ids()).toEqual(['a', 'b'])
})

it('a prepared first statement that was refused is not taken for prepared', async () => {
  const transaction = await begin()
  const wrong = { name: 'wrong', text: 'insert into nothing values ($1)', values: ['a'] }
  await expect(transaction.db.query(wrong)).rejects.toThrow('does not exist')
  await transaction.rollback()
  await direct.query('create table nothing (id text)')
  const next = await begin()
  await next.db.query(wrong)
  expect((await next.commit([flush])).ending).toBe('committed')
})

it('a connection that broke in silence while it rested is found before a statement is trusted to it', async () => {
  // The rest itself, by the clock that the driver reads.
  await elapsed(1_100)
  for (const link of proxy.links) link.blackHole()
  await expect(begin()).rejects.toMatchObject({ code: 'LS_CONNECTION_LOST' })
})

describe.each([
  ['of the client', () => {}],
  [
    'behind a pooler, which tells another process id,',
    (client: pg.PoolClient) => Object.assign(client, { processID: 1 }),
  ],
])('the backend %s', (_, disguise) => {
  it('is ended with the statement that it runs', async () => {
    const other = new pg.Pool({ connectionString: test.url, max: 1, pipeline: true })
    other.on('connect', disguise)
    const onOther = fromPool(other)
    try {
      const transaction = await onOther.begin({ operationId: newOperationId() })
      await transaction.db.query('insert into things values ($1)', ['a'])
      const { rows } = await transaction.db.query('select pg_backend_pid() as pid')
      const sleeping = transaction.db.query('select pg_sleep(60)')
      sleeping.catch(() => {})
      const [{ pid }] = rows as [{ pid: number }]
      const running = async (): Promise<number> =>
        (await direct.query(`select from pg_stat_activity where pid = $1 and query like '%pg_sleep%'`, [pid]))
          .rows.length
      await expect.poll(running).toBe(1)
      await transaction.cancel()
      expect(await running()).toBe(0)
      await expect(sleeping).rejects.toThrow(/terminat/)
      await transaction.rollback()
      expect(await ids()).toEqual([])
    } finally {
      await onOther.close()
      await other.end()
    }
  })
})

it('behind a pooler, ending one transaction leaves others alone that carry the same operation id', async () => {
  const other = new pg.Pool({ connectionString: test.url, max: 2, pipeline: true })
  other.on('connect', (client) => Object.assign(client, { processID: 1 }))
  const onOther = fromPool(other)
  const operationId = newOperationId()
  const [hers, theirs] = [await onOther.begin({ operationId }), await onOther.begin({ operationId })]
  await theirs.db.query('select 1')
  await hers.db.query('insert into things values ($1)', ['hers'])
  await theirs.cancel()
  await theirs.rollback()
  expect((await hers.db.query('select count(*)::int as count from things')).rows).toEqual([{ count: 1 }])
  await hers.rollback()
  await onOther.close()
  await other.end()
})

it('behind a pooler, ending a transaction that has sent nothing leaves connections without a name alone', async () => {
  const other = new pg.Pool({ connectionString: test.url, max: 1, pipeline: true })
  other.on('connect', (client) => Object.assign(client, { processID: 1 }))
  const onOther = fromPool(other)
  const unnamed = new pg.Client({ connectionString: test.url, application_name: '' })
  const broken: Error[] = []
  unnamed.on('error', (error) => broken.push(error))
  await unnamed.connect()
  const backend = async (): Promise<unknown> =>
    (
      await unnamed.query(
        'select pg_backend_pid() as pid, application_name as name from pg_stat_activity ' +
          'where pid = pg_backend_pid()',
      )
    ).rows[0]
  const before = await backend()
  expect(before).toMatchObject({ name: '' })
  const first = await onOther.begin({ operationId: newOperationId() })
  await first.cancel()
  await first.rollback()
  // The connection has sent statements, and is between two transactions.
  const second = await onOther.begin({ operationId: newOperationId() })
  await second.db.query('select 1')
  await second.rollback()
  const third = await onOther.begin({ operationId: newOperationId() })
  await third.cancel()
  await third.rollback()
  expect(await backend()).toEqual(before)
  expect(broken).toEqual([])
  // No connection had to be discarded.
  expect(other.totalCount).toBe(1)
  await unnamed.end()
  await onOther.close()
  await other.end()
})

it('refuses a client that it cannot send flights on', async () => {
  class OtherClient extends pg.Client {
    static Query = undefined
  }
  const other = new pg.Pool({ connectionString: test.url, max: 1, Client: OtherClient })
  const onOther = fromPool(other)
  const removed = once(other, 'remove')
  await expect(onOther.begin({ operationId: newOperationId() })).rejects.toMatchObject({
    code: 'LS_CONFIG_INVALID',
  })
  await removed
  await onOther.close()
  await other.end()
})

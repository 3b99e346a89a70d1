// Settlements whose trouble stays their own: a value that is refused, a head that stays locked. The others of the batch
// do not wait for long.
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { settleOperations, type OperationKey } from '../../../src/postgres/index.ts'
import {
  createSettlementsWorld,
  keyOf,
  noticeFor,
  schema,
  type SettlementsWorld,
} from '../../support/settlements.ts'

let world: SettlementsWorld
let pool: SettlementsWorld['pool']
let database: SettlementsWorld['database']

beforeAll(async () => {
  world = await createSettlementsWorld()
  ;({ pool, database } = world)
})
afterAll(() => world.close())

describe('a batch with one that cannot be stored', () => {
  const settleAll = (keys: readonly OperationKey[]) => {
    const { settler } = world.createSettler()
    return Promise.allSettled(keys.map((key) => settler.settle(key, noticeFor(key))))
  }
  const all = (user: string) => ['w1', 'w2', 'good1', user, 'good2'].map((name) => keyOf(name))

  it('whose offset is taken settles the others', async () => {
    const [first] = await settleAll([keyOf('poison')])
    expect(first).toMatchObject({ status: 'fulfilled' })
    await pool.query(`update lockstep.channels set head = 0 where channel = 'user:poison'`)
    const ends = await settleAll(all('poison'))
    expect(ends).toMatchObject([
      { value: { state: 'rolled_back' } },
      { value: { state: 'rolled_back' } },
      { value: { state: 'rolled_back' } },
      { reason: { code: 'LS_CONSTRAINT_VIOLATED' } },
      { value: { state: 'rolled_back' } },
    ])
  })

  it('that a trigger refuses settles the others', async () => {
    await pool.query(`
      create function refuse() returns trigger language plpgsql as
        $$ begin raise exception 'not this one' using errcode = 'AB123'; end $$;
      create trigger refuse before insert on lockstep.events for each row
        when (new.channel = 'user:refused') execute function refuse()`)
    try {
      const ends = await settleAll(all('refused'))
      expect(ends.map(({ status }) => status)).toEqual([
        'fulfilled',
        'fulfilled',
        'fulfilled',
        'rejected',
        'fulfilled',
      ])
    } finally {
      await pool.query('drop trigger refuse on lockstep.events; drop function refuse()')
    }
  })
})

it('a head that stays locked holds up nobody else of the batch, however much stands behind that head', async () => {
  const { settler } = world.createSettler()
  await pool.query(`insert into lockstep.channels (channel, head) values ('user:mallory', 0)`)
  const holder = await pool.connect()
  await holder.query(`begin; select from lockstep.channels where channel = 'user:mallory' for update`)
  const ask = (key: OperationKey) => settler.settle(key, noticeFor(key))
  const first = ['x', 'y'].map((user) => ask(keyOf(user)))
  const behind = Array.from({ length: 40 }, () => ask(keyOf('mallory')))
  const told = Promise.allSettled(behind)
  const victim = ask(keyOf('victim')).then(() => 'victim')
  // The caller of a settlement behind the head is told after a second.
  expect(await Promise.race([victim, ...behind.map((one) => one.catch(() => 'mallory'))])).toBe('victim')
  for (const end of await told) expect(end).toMatchObject({ reason: { code: 'LS_STATEMENT_TIMEOUT' } })
  await holder.query('rollback')
  holder.release()
  await Promise.all(first)
})

describe('the waits of a statement', () => {
  it('for heads behind the first end together: many short ones hold nobody for their sum', async () => {
    const names = Array.from({ length: 10 }, (_, n) => `queue:${n}`)
    await pool.query(`insert into lockstep.channels (channel, head) select c, 0 from unnest($1::text[]) c`, [
      names,
    ])
    const holders = await Promise.all(
      names.map(async (name) => {
        const client = await pool.connect()
        await client.query('begin')
        await client.query('select from lockstep.channels where channel = $1 for update', [name])
        return client
      }),
    )
    // Heads are unlocked 150 ms one after the other: no wait for one of them alone takes 200 ms.
    const held = holders.map(async (client, n) => {
      await client.query(`select pg_sleep(${(n + 1) * 0.15})`)
      await client.query('rollback')
      client.release()
    })
    const events = ['a', ...names].map((channel) => ({ channel, type: 'noted', data: '1' }))
    const statement = settleOperations(schema, [{ key: keyOf('queue'), events }], {
      firstMs: 250,
      nextMs: 200,
    })
    const [end] = await Promise.allSettled([database.own.query(statement)])
    await Promise.all(held)
    expect(end).toMatchObject({ reason: { code: 'LS_STATEMENT_TIMEOUT' } })
  })

  it('for an id is the short one where no head is waited for', async () => {
    const stuck = keyOf('silent')
    const flush = await world.openFlush(stuck, [])
    try {
      const waits = { firstMs: 60_000, nextMs: 50 }
      const settling = database.own.query(settleOperations(schema, [{ key: stuck, events: [] }], waits))
      await expect(settling).rejects.toMatchObject({ code: 'LS_STATEMENT_TIMEOUT' })
    } finally {
      await flush.end('rollback')
    }
  })
})

it('no unnest of the application is called', async () => {
  await pool.query(`create function public.unnest(text[]) returns setof text language plpgsql as
    $$ begin raise exception 'the function of the application was called'; end $$`)
  // A connection of its own: those that have called it before know what it means.
  const fresh = new pg.Client({ connectionString: world.url })
  await fresh.connect()
  try {
    const settlement = {
      key: keyOf('shadow'),
      events: [{ channel: 'user:shadow', type: 'noted', data: '1' }],
    }
    const { text, values = [] } = settleOperations(schema, [settlement], { firstMs: 250, nextMs: 50 })
    await expect(fresh.query(text, [...values])).resolves.toMatchObject({ rows: [{ settled: true }] })
  } finally {
    await fresh.end()
    await pool.query('drop function public.unnest(text[])')
  }
})

// Two copies of one call, on two nodes at once: both run, and the first that has an outcome decides for both.
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Queryable } from '../../../src/core/index.ts'
import { createLockstep, LockstepError, newOperationId, silentLogger } from '../../../src/index.ts'
import {
  flushOperation,
  fromPool,
  readOperations,
  settleOperations,
  type SettleRow,
} from '../../../src/postgres/index.ts'
import { createNotice } from '../../../src/transaction/settle/notice.ts'
import { createTestDatabase } from '../../support/database.ts'
import { createWorld, room, type World } from '../../support/world.ts'

let one: World
let two: World

beforeAll(async () => {
  one = await createWorld()
  two = await createWorld({ databaseUrl: one.url })
})
afterAll(async () => {
  await two.close()
  await one.close()
})

/** Makes a function whose promises resolve once it was called so many times. */
function barrier(count: number): () => Promise<void> {
  let open = (): void => {}
  const opened = new Promise<void>((resolve) => (open = resolve))
  let arrived = 0
  return () => {
    arrived += 1
    if (arrived === count) open()
    return opened
  }
}

const notes = (id: string) => one.rows('select id from notes where text = $1', [id])
const noticesOf = async (user: string) =>
  (await one.eventsOf(`user:${user}`)).filter(({ type }) => type === 'transaction_rolled_back')
const state = async (id: string) =>
  (await one.rows<{ state: string }>('select state from lockstep.operations where id = $1', [id]))[0]?.state

describe('two copies in flight', () => {
  it.each([
    ['read committed', true],
    ['repeatable read', true],
    ['repeatable read', false],
    ['serializable', false],
  ])('have one effect and the same answer under %s, with an event: %s', async (isolation, emits) => {
    const id = newOperationId()
    const channel = room({ id: `${isolation.replace(' ', '-')}-${emits}` })
    const together = barrier(2)
    const call = (world: World, by: string) =>
      world.lockstep.transaction({ name: 'copied', user: 'ada', id }, async (tx) => {
        await tx.db.query(`set transaction isolation level ${isolation}`)
        // The snapshot stands from here on: the other copy's commit is not in it.
        await tx.db.query('insert into notes values (gen_random_uuid(), $1)', [id])
        await together()
        if (emits) tx.emit(channel, 'counted', { n: 1 })
        return by
      })
    const [first, second] = await Promise.all([call(one, 'one'), call(two, 'two')])
    expect(first).toBe(second)
    expect(await notes(id)).toHaveLength(1)
    expect(await one.eventsOf(channel.name)).toHaveLength(emits ? 1 : 0)
    expect(await state(id)).toBe('committed')
  })

  it('of two users are two operations: both commit', async () => {
    const id = newOperationId()
    const together = barrier(2)
    const call = (world: World, user: string) =>
      world.lockstep
        .transaction({ name: 'copied', user, id }, async (tx) => {
          await tx.db.query('insert into notes values (gen_random_uuid(), $1)', [id])
          await together()
          return 'committed'
        })
        .catch((error: unknown) => (error as { code: string }).code)
    const answers = await Promise.all([call(one, 'ada'), call(two, 'eve')])
    expect(answers).toEqual(['committed', 'committed'])
    expect(await notes(id)).toHaveLength(2)
    expect([...(await noticesOf('ada')), ...(await noticesOf('eve'))]).toEqual([])
  })

  it('end as the first that ended: a failure of one is the outcome of both, reported once', async () => {
    const id = newOperationId()
    let release = (): void => {}
    const failed = new Promise<void>((resolve) => (release = resolve))
    const together = barrier(2)
    const slow = one.lockstep.transaction({ name: 'copied', user: 'fay', id }, async (tx) => {
      await tx.db.query('insert into notes values (gen_random_uuid(), $1)', [id])
      // Waits until both have begun: the later one would be stopped by an outcome that it finds.
      await expect
        .poll(() => one.rows('select 1 from lockstep.intents where $1 = any(ids)', [id]))
        .toHaveLength(2)
      await together()
      await failed
    })
    const quick = two.lockstep.transaction({ name: 'copied', user: 'fay', id }, async () => {
      await together()
      throw new Error('this copy fails')
    })
    await expect(quick).rejects.toThrow('this copy fails')
    release()
    await expect(slow).rejects.toMatchObject({ code: 'LS_OPERATION_FENCED' })
    expect(await state(id)).toBe('rolled_back')
    expect(await notes(id)).toEqual([])
    expect(await noticesOf('fay')).toHaveLength(1)
  })

  it('one fails while the COMMIT of the other takes its time: what is answered is how that ends, and not a guess', async () => {
    const id = newOperationId()
    await one.rows(
      `create table slow_at_commit (id text);
       create function wait_for_commit() returns trigger language plpgsql as
         $$ begin perform pg_advisory_xact_lock(17); return null; end $$;
       create constraint trigger slow after insert on slow_at_commit deferrable initially deferred
         for each row execute function wait_for_commit()`,
    )
    const holder = new pg.Client({ connectionString: one.url })
    await holder.connect()
    await holder.query('select pg_advisory_lock(17)')
    const together = barrier(2)
    const slow = two.lockstep.transaction({ name: 'copied', user: 'gus', id }, async (tx) => {
      await tx.db.query('insert into slow_at_commit values ($1)', [id])
      await together()
      return 'saved'
    })
    const isCommitting = () =>
      one
        .rows(`select 1 from pg_locks where locktype = 'advisory' and not granted`)
        .then((rows) => rows.length)
    const failing = one.lockstep.transaction<string>({ name: 'copied', user: 'gus', id }, async () => {
      await together()
      await expect.poll(isCommitting).toBe(1)
      throw new Error('this copy fails')
    })
    // The settlement has waited for the other's COMMIT as long as one statement may, and asks again.
    await expect
      .poll(() => one.logger.lines.filter(({ fields }) => fields['operationId'] === id).length, {
        timeout: 10_000,
      })
      .toBeGreaterThan(1)
    await holder.end()
    expect(await slow).toBe('saved')
    expect(await failing).toBe('saved')
    expect(await noticesOf('gus')).toEqual([])
  })
})

it('a late copy whose work fails is no failure: it undoes nothing, and nobody is alerted', async () => {
  const id = newOperationId()
  const undone: string[] = []
  await one.lockstep.transaction({ name: 'again', user: 'ada', id }, async () => 'first')
  // The copy fails as over a row that the first has written, before it can know that there was a first.
  const copy = one.lockstep.transaction({ name: 'again', user: 'ada', id }, async (tx) => {
    tx.afterRollback(() => void undone.push(id))
    throw new Error('it is there already')
  })
  expect(await copy).toBe('first')
  expect(undone).toEqual([])
  expect(one.logger.lines.filter(({ fields }) => fields['operationId'] === id)).toEqual([])
})

describe('a late copy', () => {
  const newId = (ageMs: number): string => {
    const time = (Date.now() - ageMs).toString(16).padStart(12, '0')
    return newOperationId().replace(/^.{8}-.{4}/, `${time.slice(0, 8)}-${time.slice(8)}`)
  }

  it.each([true, false])(
    'that says it may be one does no work again, and takes no connection (with an intent: %s)',
    async (intent) => {
      const id = newOperationId()
      const world = await createWorld({ databaseUrl: one.url, poolSize: 1 })
      let runs = 0
      const call = (repeat: boolean) =>
        world.lockstep.transaction({ name: 'again', user: 'ada', id, intent, repeat }, async (tx) => {
          runs += 1
          await tx.db.query('select 1')
          return 'first'
        })
      await call(false)
      const only = await world.pool.connect()
      expect(await call(true)).toBe('first')
      only.release()
      expect(runs).toBe(1)
      await world.close()
    },
  )

  it('costs the pool no connection, whether it says so or not', async () => {
    const id = newOperationId()
    const world = await createWorld({ databaseUrl: one.url, poolSize: 1 })
    const pid = async () =>
      ((await world.pool.query('select pg_backend_pid() as pid')).rows as [{ pid: number }])[0].pid
    const call = () =>
      world.lockstep.transaction({ name: 'again', user: 'ada', id }, async (tx) => {
        await tx.db.query('select pg_sleep(0.05)')
        return 'first'
      })
    await call()
    const before = await pid()
    for (let n = 0; n < 5; n++) expect(await call()).toBe('first')
    expect(await pid()).toBe(before)
    await world.close()
  })

  it('that comes when its outcome may be forgotten is refused, and does nothing', async () => {
    const dayMs = 86_400_000
    let runs = 0
    const call = (ageMs: number) =>
      one.lockstep.transaction({ name: 'old', user: 'ada', id: newId(ageMs) }, async () => void (runs += 1))
    await call(6 * dayMs)
    await expect(call(8 * dayMs)).rejects.toMatchObject({ code: 'LS_OPERATION_EXPIRED' })
    expect(runs).toBe(1)
  })
})

it('a copy whose first has ended hears that the outcome is not known, while it cannot be read', async () => {
  const id = newOperationId()
  const call = (lockstep: typeof one.lockstep) =>
    lockstep.transaction({ name: 'copied', user: 'ada', id }, async () => 'saved')
  await call(one.lockstep)
  const database = fromPool(one.pool)
  let isAway = true
  const own: Queryable = {
    async query(statement) {
      if (isAway && statement.text === readOperations(database.schema, '', []).text)
        throw new LockstepError('LS_CONNECTION_LOST')
      return database.own.query(statement)
    },
  }
  const third = createLockstep({ database: { ...database, own }, logger: silentLogger, bus: false })
  // An error other than "pending" would read as "rolled back".
  await expect(call(third)).rejects.toMatchObject({ code: 'LS_OUTCOME_PENDING' })
  isAway = false
  await expect(call(third)).resolves.toBe('saved')
  // Intents of the copies are removed, that of the copy without an answer included.
  await expect.poll(() => one.rows('select 1 from lockstep.intents')).toEqual([])
  await third.close()
})

it('a copy that fails is answered with the commit of the other, also while it cannot be read who that was', async () => {
  const id = newOperationId()
  const database = fromPool(one.pool)
  const own: Queryable = {
    async query(statement) {
      if (statement.text.startsWith('select o.node')) throw new LockstepError('LS_CONNECTION_LOST')
      return database.own.query(statement)
    },
  }
  const third = createLockstep({ database: { ...database, own }, logger: silentLogger, bus: false })
  let fail = (): void => {}
  const otherHasCommitted = new Promise<void>((resolve) => (fail = resolve))
  const call = (lockstep: typeof one.lockstep, work: () => Promise<string>) =>
    lockstep.transaction({ name: 'copied', user: 'hal', id }, work)
  const failing = call(third, async () => {
    await otherHasCommitted
    throw new Error('this copy fails')
  })
  await expect
    .poll(() => one.rows('select 1 from lockstep.intents where $1 = any(ids)', [id]))
    .toHaveLength(1)
  expect(await call(two.lockstep, async () => 'saved')).toBe('saved')
  fail()
  // An error would read as "rolled back", and a notice would be sent from memory.
  expect(await failing).toBe('saved')
  expect(await noticesOf('hal')).toEqual([])
  await third.close()
})

it('settlements that meet where the default isolation is a stricter one go on until their notice is durable', async () => {
  const test = await createTestDatabase()
  const admin = new pg.Client({ connectionString: test.url })
  await admin.connect()
  await admin.query(`alter database ${test.name} set default_transaction_isolation = 'repeatable read'`)
  await admin.end()
  const world = await createWorld({ databaseUrl: test.url, bus: false })
  const outcomes = await Promise.all(
    Array.from({ length: 40 }, (_, n) =>
      world.addNote.call({ room: 'r', id: String(n), text: 'x', fail: true }, { user: 'ann' }),
    ),
  )
  const notices = outcomes.map((outcome) => outcome.outcome === 'rolled_back' && outcome.notice)
  expect(notices.filter((notice) => notice === false || notice.transient === true)).toEqual([])
  expect(await world.eventsOf('user:ann')).toHaveLength(40)
  await world.close()
  await test.drop()
})

describe('a settlement that meets a flush in flight', () => {
  const noticeOf = (id: string) =>
    createNotice({
      operationId: id,
      operationName: 'slow',
      rollback: {},
      code: 'LS_OPERATION_INTERRUPTED',
      affectedLayers: [],
    })

  it.each(['commit', 'rollback'])(
    'waits for it no longer than its lock timeout, then finds what stands after its %s',
    async (ending) => {
      const id = newOperationId()
      const key = { id, name: 'slow', userId: ending, node: newOperationId(), inputHash: 'x' }
      const { own, schema } = fromPool(one.pool)
      const notice = noticeOf(id)
      const told = {
        channel: `user:${ending}`,
        type: 'transaction_rolled_back',
        data: JSON.stringify(notice),
      }
      const settle = (lockTimeoutMs: number) => {
        const waits = { firstMs: lockTimeoutMs, nextMs: lockTimeoutMs }
        return own.query<SettleRow>(settleOperations(schema, [{ key, notice, events: [told] }], waits))
      }
      const flushing = new pg.Client({ connectionString: one.url })
      await flushing.connect()
      try {
        await flushing.query(`begin; set local lockstep.operation = '${id}'`)
        // The copies emit no event, so that no channel is locked, and the settlement waits for the id alone.
        const { text, values = [] } = flushOperation(schema, key, null, [])
        await flushing.query(text, [...values])
        const began = performance.now()
        await expect(settle(150)).rejects.toMatchObject({ code: 'LS_STATEMENT_TIMEOUT' })
        expect(performance.now() - began).toBeGreaterThanOrEqual(150)
        const waiting = settle(10_000)
        await flushing.query(ending)
        expect((await waiting).rows[0]).toMatchObject(
          ending === 'commit'
            ? { settled: false, state: 'committed' }
            : { settled: true, state: 'rolled_back' },
        )
        expect(await noticesOf(ending)).toHaveLength(ending === 'commit' ? 0 : 1)
      } finally {
        await flushing.end()
      }
    },
  )
})

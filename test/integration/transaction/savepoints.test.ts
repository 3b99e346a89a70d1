// Savepoints that Lockstep does not set itself: by SQL, as ORMs do it for their nested transactions.
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { SqlClient, Transaction } from '../../../src/index.ts'
import { createWorld, room, type World } from '../../support/world.ts'

let world: World

beforeAll(async () => {
  world = await createWorld()
})
afterAll(() => world.close())

const counted = async (id: string) =>
  (await world.eventsOf(`room:${id}`)).map(({ data }) => (data as { n: number }).n)
const noted = async (text: string) =>
  (await world.rows<{ id: string }>('select id from notes where text = $1 order by id', [text])).map(
    ({ id }) => id,
  )

/** Runs a nested transaction as Drizzle, TypeORM, MikroORM and Prisma write it. */
async function nested<T>(db: SqlClient, name: string, work: () => Promise<T>): Promise<T> {
  await db.query(`savepoint ${name}`)
  try {
    const result = await work()
    await db.query(`release savepoint ${name}`)
    return result
  } catch (error) {
    await db.query(`rollback to savepoint ${name}`)
    throw error
  }
}

it('events go with the rows of a savepoint that SQL rolls back, and the others stay', async () => {
  await world.lockstep.transaction({ name: 'raw', user: 'ada' }, async (tx) => {
    const emit = (n: number) => tx.emit(room({ id: 'raw' }), 'counted', { n })
    emit(1)
    await tx.db.query('savepoint mine')
    await tx.db.query(`insert into notes values ('raw', 'raw')`)
    emit(2)
    await tx.db.query('rollback to savepoint mine')
    emit(3)
  })
  expect(await noted('raw')).toEqual([])
  expect(await counted('raw')).toEqual([1, 3])
})

it("events and hooks go with an ORM's nested transaction that fails, at any depth, under a name that is used again", async () => {
  const ran: string[] = []
  await world.lockstep.transaction({ name: 'orm', user: 'ada' }, async (tx) => {
    const write = async (n: number) => {
      await tx.db.query('insert into notes values ($1, $2)', [`orm-${n}`, 'orm'])
      tx.emit(room({ id: 'orm' }), 'counted', { n })
      tx.afterCommit(() => void ran.push(`hook ${n}`))
    }
    await write(1)
    await nested(tx.db, '"sp 1"', async () => {
      await write(2)
      await nested(tx.db, 'sp_2', async () => {
        await write(3)
        await tx.db.query('select 1 / 0')
      }).catch(() => {})
      await write(4)
      await nested(tx.db, 'SP_2', () => write(5))
    })
    await nested(tx.db, '"sp 1"', async () => {
      await write(6)
      await nested(tx.db, 'sp_2', () => write(7))
      throw new Error('the outer one fails')
    }).catch(() => {})
  })
  expect(await noted('orm')).toEqual(['orm-1', 'orm-2', 'orm-4', 'orm-5'])
  expect(await counted('orm')).toEqual([1, 2, 4, 5])
  expect(ran).toEqual(['hook 1', 'hook 2', 'hook 4', 'hook 5'])
})

it("savepoints by SQL within Lockstep's own, and its own within them", async () => {
  await world.lockstep.transaction({ name: 'both', user: 'ada' }, async (tx) => {
    const emit = (n: number) => tx.emit(room({ id: 'both' }), 'counted', { n })
    await tx
      .transaction(async (inner) => {
        await nested(inner.db, 'a', () => Promise.resolve(emit(1)))
        throw new Error('undone')
      })
      .catch(() => {})
    await nested(tx.db, 'a', async () => {
      await tx.transaction(async (inner) => inner.emit(room({ id: 'both' }), 'counted', { n: 2 }))
      throw new Error('undone')
    }).catch(() => {})
    await nested(tx.db, 'a', () => tx.transaction(() => Promise.resolve(emit(3))))
  })
  expect(await counted('both')).toEqual([3])
})

it('a statement that was prepared under a name moves events as any other', async () => {
  for (const n of [1, 2]) {
    await world.lockstep.transaction({ name: 'prepared', user: 'ada' }, async (tx) => {
      await tx.db.query({ name: 'set_a', text: 'savepoint a' })
      tx.emit(room({ id: 'prepared' }), 'counted', { n })
      await tx.db.query({ name: 'undo_a', text: 'rollback to a' })
      tx.emit(room({ id: 'prepared' }), 'counted', { n: n * 10 })
    })
  }
  expect(await counted('prepared')).toEqual([10, 20])
})

it('an exception block of plpgsql takes no event with it: none can be emitted while it runs', async () => {
  await world.lockstep.transaction({ name: 'block', user: 'ada' }, async (tx) => {
    tx.emit(room({ id: 'block' }), 'counted', { n: 1 })
    await tx.db.query(`do $$ begin
      insert into notes values ('block', 'block');
      raise exception 'undone';
    exception when others then null;
    end $$`)
    tx.emit(room({ id: 'block' }), 'counted', { n: 2 })
  })
  expect(await noted('block')).toEqual([])
  expect(await counted('block')).toEqual([1, 2])
})

it('a rollback to a savepoint that nobody awaited rolls the operation back, with an error that says so', async () => {
  const running = world.lockstep.transaction({ name: 'unawaited', user: 'ada' }, async (tx) => {
    await tx.db.query('savepoint s')
    await tx.db.query(`insert into notes values ('unawaited', 'unawaited')`)
    tx.emit(room({ id: 'unawaited' }), 'counted', { n: 1 })
    void tx.db.query('rollback to s').catch(() => {})
  })
  await expect(running).rejects.toMatchObject({
    code: 'LS_STATEMENT_UNSUPPORTED',
    message: expect.stringMatching(/ROLLBACK TO SAVEPOINT.*Await/) as string,
  })
  expect(await noted('unawaited')).toEqual([])
  expect(await counted('unawaited')).toEqual([])
})

it('a nested transaction that nobody awaited adds nothing once the operation has returned', async () => {
  let late: unknown[] = []
  const emitLate = (inner: Transaction<SqlClient>): unknown[] =>
    [
      () => inner.emit(room({ id: 'late' }), 'counted', { n: 2 }),
      () => inner.afterCommit(() => {}),
      () => inner.afterRollback(() => {}),
    ].map((add) => {
      try {
        return add()
      } catch (error) {
        return (error as { code?: unknown }).code
      }
    })
  await world.lockstep.transaction({ name: 'late', user: 'ada' }, async (tx) => {
    const inner = await new Promise<Transaction<SqlClient>>((resolve) => {
      void tx
        .transaction((scope) => {
          resolve(scope)
          return new Promise<never>(() => {})
        })
        .catch(() => {})
    })
    inner.emit(room({ id: 'late' }), 'counted', { n: 1 })
    // Emit after all that is done at once when the work returns, and before the answer to anything that is sent then.
    setImmediate(() => (late = emitLate(inner)))
  })
  expect(late).toEqual(['LS_TRANSACTION_CLOSED', 'LS_TRANSACTION_CLOSED', 'LS_TRANSACTION_CLOSED'])
  expect(await counted('late')).toEqual([1])
})

// The first error that a transaction saw decides the code and whether to retry, whatever the operation's own code makes
// of it.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { newOperationId, type SqlClient } from '../../../src/index.ts'
import { createWorld, type World } from '../../support/world.ts'

let world: World

beforeAll(async () => {
  world = await createWorld()
  await world.rows(`insert into notes values ('taken', 'x')`)
})
afterAll(() => world.close())

class WrappedByAnOrm extends Error {}
class WrappedAgain extends Error {
  readonly code = 'P2034'
}

type Handle = (work: () => Promise<unknown>) => Promise<unknown>
const ways: readonly (readonly [string, Handle])[] = [
  ['thrown on', (work) => work()],
  [
    'wrapped with its cause',
    (work) =>
      work().catch((cause: unknown) => {
        throw new WrappedByAnOrm('Failed query', { cause })
      }),
  ],
  [
    'wrapped twice, with a code of the ORM',
    (work) =>
      work().catch((cause: unknown) => {
        throw new WrappedAgain('Failed query', { cause: new WrappedByAnOrm('x', { cause }) })
      }),
  ],
  [
    'replaced by an error that tells nothing of it',
    (work) =>
      work().catch(() => {
        throw new Error('bad_request:database')
      }),
  ],
  ['caught, and the operation returns', (work) => work().catch(() => ({ left: 'FAILED' }))],
]

const run = (id: string, user: string, work: (db: SqlClient) => Promise<unknown>) =>
  world.lockstep
    .transaction({ name: 'first_error', user, id }, (tx) => work(tx.db))
    .catch((error: unknown) => error)
const codeOf = async (id: string) =>
  (
    await world.rows<{ code: string | null }>(
      `select notice ->> 'errorCode' as code from lockstep.operations where id = $1`,
      [id],
    )
  )[0]?.code

describe.each(ways)('an error that is %s', (way, handle) => {
  it.each([
    ['a unique violation', `insert into notes values ('taken', 'x')`, 'LS_CONSTRAINT_VIOLATED'],
    ['a value that is refused', `select 'x'::int`, 'LS_DATA_INVALID'],
  ])('%s keeps its code', async (_, text, code) => {
    for (const isFirst of [true, false]) {
      const id = newOperationId()
      await run(id, 'ada', async (db) => {
        if (!isFirst) await db.query('select 1')
        return handle(() => db.query(text))
      })
      expect(await codeOf(id)).toBe(code)
    }
  })

  it('is tried again when it is a deadlock, and both commit', async () => {
    const [one, two] = [`${way} 1`, `${way} 2`]
    await world.rows(`insert into notes values ($1, '0'), ($2, '0')`, [one, two])
    let attempts = 0
    let holding = 0
    let meet = (): void => {}
    const bothHold = new Promise<void>((resolve) => (meet = resolve))
    const add = (first: string, second: string) => {
      let isFirstAttempt = true
      return world.lockstep.transaction({ name: 'crosses', user: 'ada' }, async ({ db }) => {
        attempts += 1
        const update = (id: string) =>
          db.query('update notes set text = (text::int + 1)::text where id = $1', [id])
        return handle(async () => {
          await update(first)
          if (isFirstAttempt) {
            isFirstAttempt = false
            holding += 1
            if (holding === 2) meet()
            await bothHold
          }
          await update(second)
        })
      })
    }
    await Promise.all([add(one, two), add(two, one)])
    expect(attempts).toBeGreaterThan(2)
    const rows = await world.rows('select text from notes where id in ($1, $2)', [one, two])
    expect(rows).toEqual([{ text: '2' }, { text: '2' }])
  })
})

it.each<[string, string, string]>([
  ['without a code of its own', 'select * from nothing', 'LS_TRANSACTION_ABORTED'],
  [
    'of several statements',
    `insert into notes values ('s', 's'); commit; select 1`,
    'LS_STATEMENT_UNSUPPORTED',
  ],
  ['of COMMIT in a procedure', 'call ends_it()', 'LS_TRANSACTION_CONTROL'],
  ['of ROLLBACK in a block', 'do $$ begin rollback; end $$', 'LS_TRANSACTION_CONTROL'],
])('a swallowed error %s rolls back, and says so', async (_, text, code) => {
  await world.rows(`create or replace procedure ends_it() language plpgsql as 'begin commit; end'`)
  const id = newOperationId()
  expect(await run(id, 'ada', (db) => db.query(text).catch(() => {}))).toMatchObject({ code })
  expect(await codeOf(id)).toBe(code)
  expect(await world.rows(`select from notes where id = 's'`)).toEqual([])
})

it('a swallowed error is reported to the caller as it was', async () => {
  const error = await run(newOperationId(), 'ada', (db) =>
    db.query(`insert into notes values ('taken', 'x')`).catch(() => 'swallowed'),
  )
  expect(error).toMatchObject({
    code: 'LS_CONSTRAINT_VIOLATED',
    message: expect.stringContaining('duplicate key') as string,
    details: { sqlState: '23505' },
  })
})

it('an error that a savepoint has undone decides nothing', async () => {
  const id = newOperationId()
  await run(id, 'ada', async (db) => {
    await db.query('savepoint a')
    await db.query(`insert into notes values ('taken', 'x')`).catch(() => {})
    await db.query('rollback to a')
    throw new Error('for another reason')
  })
  expect(await codeOf(id)).toBe('LS_OPERATION_FAILED')
})

it('an operation that was cancelled says so, and not what its statement met then', async () => {
  const id = newOperationId()
  const cancel = new AbortController()
  const options = { name: 'first_error', user: 'ada', id, signal: cancel.signal }
  const running = world.lockstep.transaction(options, async (tx) => {
    await tx.db.query('select 1')
    queueMicrotask(() => cancel.abort())
    await tx.db.query('select pg_sleep(60)').catch(() => {})
  })
  await expect(running).rejects.toMatchObject({ code: 'LS_OPERATION_CANCELLED' })
  expect(await codeOf(id)).toBe('LS_OPERATION_CANCELLED')
})

// Forms of `tx.db.query`: a text by the extended protocol, answered by a promise or as `pg` calls back.
import type pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createWorld, type World } from '../../support/world.ts'

let world: World

beforeAll(async () => {
  world = await createWorld()
})
afterAll(() => world.close())

type Db = Parameters<Parameters<World['lockstep']['transaction']>[1]>[0]['db']

const inOperation = <T>(work: (db: Db) => Promise<T>): Promise<T> =>
  world.lockstep.transaction({ name: 'form', user: 'ada' }, (tx) => work(tx.db))
const noted = async (text: string) =>
  (await world.rows<{ id: string }>('select id from notes where text = $1 order by id', [text])).map(
    ({ id }) => id,
  )
const positions = ['first', 'later'] as const
/** The first statement of a transaction travels with BEGIN, the others by themselves. */
const before = async (db: Db, position: (typeof positions)[number]): Promise<void> => {
  if (position === 'later') await db.query('select 1')
}

describe.each(positions)('as the %s statement of an operation', (position) => {
  it.each([
    `insert into notes values ('s1', 'several'); commit; insert into notes values ('s2', 'several')`,
    `insert into notes values ('s1', 'several'); rollback; insert into notes values ('s2', 'several')`,
    `insert into notes values ('s1', 'several'); insert into notes values ('s2', 'several');`,
  ])('a text of several statements is refused whole: %s', async (text) => {
    const running = inOperation(async (db) => {
      await before(db, position)
      await db.query(text)
    })
    await expect(running).rejects.toMatchObject({
      code: 'LS_STATEMENT_UNSUPPORTED',
      message: expect.stringContaining('Send each statement by a call of its own') as string,
    })
    expect(await noted('several')).toEqual([])
  })

  it('a text with a semicolon at its end, in a text or in a block is one statement', async () => {
    const text = `one ${position}; and`
    await inOperation(async (db) => {
      await before(db, position)
      await db.query(`do $$ begin perform 1; perform 2; end $$;`)
      await db.query(`insert into notes values ('${text}', '${text}');`)
    })
    expect(await noted(text)).toEqual([text])
  })

  it.each([
    [
      'with values',
      (db: Db, done: (error: Error | null, result?: pg.QueryResult) => void) =>
        db.query('select $1::int as n', [7], done),
    ],
    [
      'without',
      (db: Db, done: (error: Error | null, result?: pg.QueryResult) => void) =>
        db.query('select 7 as n', done),
    ],
  ])('a callback %s is called', async (_, send) => {
    const rows = await inOperation(async (db) => {
      await before(db, position)
      return new Promise((resolve, reject) => {
        const answer: unknown = send(db, (error, result) =>
          error === null ? resolve(result?.rows) : reject(error),
        )
        expect(answer).toBeUndefined()
      })
    })
    expect(rows).toEqual([{ n: 7 }])
  })

  it('a callback gets the error of its statement, and the operation is rolled back for it', async () => {
    const running = inOperation(async (db) => {
      await before(db, position)
      return new Promise((_, reject) =>
        db.query('select 1 / 0', (error) => reject(error ?? new Error('none'))),
      )
    })
    await expect(running).rejects.toMatchObject({ code: '22012' })
  })

  it('a cursor, a query stream or COPY is refused at once, with the way that works', async () => {
    class Cursor {
      submit(): void {
        throw new Error('it was given to the connection')
      }
    }
    const running = inOperation(async (db) => {
      await before(db, position)
      // The object that was given is returned, as `pg` does it, and no promise.
      void db.query(new Cursor() as never)
    })
    await expect(running).rejects.toMatchObject({
      code: 'LS_STATEMENT_UNSUPPORTED',
      message: expect.stringMatching(/got a Cursor.*declare c cursor.*unnest/) as string,
    })
  })

  it.each([
    'copy notes from stdin',
    'copy notes to stdout',
    '/* all */ COPY notes (id, text) FROM  STDIN with csv',
  ])('%j is refused at once', async (text) => {
    const running = inOperation(async (db) => {
      await before(db, position)
      await db.query(text)
    })
    await expect(running).rejects.toMatchObject({ code: 'LS_STATEMENT_UNSUPPORTED' })
  })

  it('a COPY that hides from being refused fails, and the connection serves on', async () => {
    const running = inOperation(async (db) => {
      await before(db, position)
      await db.query('copy notes from /* here */ stdin')
    })
    await expect(running).rejects.toMatchObject({ code: '57014' })
    await expect(inOperation(async (db) => (await db.query('select 1 as n')).rows)).resolves.toEqual([
      { n: 1 },
    ])
  })

  it('an object without a text is refused', async () => {
    const running = inOperation(async (db) => {
      await before(db, position)
      await db.query({ name: 'prepared elsewhere' } as never)
    })
    await expect(running).rejects.toMatchObject({ code: 'LS_STATEMENT_UNSUPPORTED' })
  })

  it('what the refusals name instead works', async () => {
    const text = `portions ${position}`
    const rows = await inOperation(async (db) => {
      await before(db, position)
      await db.query('insert into notes select id, $2 from unnest($1::text[]) id', [
        [`${text} 1`, `${text} 2`, `${text} 3`],
        text,
      ])
      await db.query('declare c cursor for select id from notes where text = $1 order by id', [text])
      return [(await db.query('fetch 2 from c')).rows, (await db.query('fetch 2 from c')).rows]
    })
    expect(rows).toEqual([[{ id: `${text} 1` }, { id: `${text} 2` }], [{ id: `${text} 3` }]])
  })
})

it('a query object keeps what it is: rowMode, types, and texts that are getters', async () => {
  class Sql {
    get text(): string {
      return 'select $1::int as n'
    }
    get values(): readonly unknown[] {
      return [3]
    }
  }
  const answers = await inOperation(async (db) => [
    (await db.query(new Sql() as never)).rows,
    (await db.query({ text: 'select 1 as a, 2 as b', rowMode: 'array' } as never)).rows,
    (await db.query(new Sql() as never)).rows,
    (await db.query(new Sql() as never, [4])).rows,
  ])
  expect(answers).toEqual([[{ n: 3 }], [[1, 2]], [{ n: 3 }], [{ n: 4 }]])
})

it('reads outside of an operation, and in a query, take one statement as well', async () => {
  const database = world.lockstep.query('several', {
    input: { '~standard': { version: 1, vendor: 'test', validate: (value) => ({ value }) } },
    run: ({ db }) => db.query(`select 1; commit; insert into notes values ('escaped', 'escaped')`),
  })
  const user = { id: 'ada' }
  await expect(database.execute(undefined, user, new AbortController().signal)).rejects.toMatchObject({
    code: 'LS_STATEMENT_UNSUPPORTED',
  })
  expect(await noted('escaped')).toEqual([])
})

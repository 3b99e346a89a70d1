import { randomUUID } from 'node:crypto'
import { beforeAll, expect, it } from 'vitest'
import { isLockstepError, type CommitResult, type Database, type SqlClient } from '../../src/core/index.ts'
import { readHeads, toHeads, toLockstepError, type FlushRow } from '../../src/postgres/index.ts'
import type { DatabaseWorld } from './database-world.ts'

/** Transactions: what commits together, what is rolled back, and how a driver says which. */
export function transactionConformance(world: DatabaseWorld): void {
  const { key, start, openOf, flush, flushed, eventsOf, stateOf, hasThing, event } = world
  let database: Database<SqlClient>
  beforeAll(() => {
    database = world.database
  })

  it('migrates twice without harm', async () => {
    await expect(database.migrate()).resolves.toBeUndefined()
  })

  it('commits rows, events and outcome together, with offsets from 1', async () => {
    const operation = key()
    await start(operation)
    const transaction = await database.begin({ operationId: operation.id })
    await transaction.db.query('insert into things values ($1, $2)', [operation.id, 'body'])
    const events = [event('b:1', 1), event('a:1', 2), event('b:1', 3)]
    const ending = await transaction.commit([flush(operation, events)])
    const offsets = new Map(Object.entries({ 'a:1': 1, 'b:1': 2 }))
    expect(flushed(ending, events)).toEqual({ offsets, at: expect.any(Date) })
    expect(await hasThing(operation.id)).toBe(true)
    expect((await eventsOf('b:1')).map((row) => [row.offset, row.data])).toEqual([
      [1, event('b:1', 1).data],
      [2, event('b:1', 3).data],
    ])
    expect(await stateOf(operation.id)).toMatchObject({
      state: 'committed',
      result: '{"ok":true}',
      offsets,
    })
    const { rows } = await database.own.query(readHeads(database.schema, ['a:1', 'b:1', 'c:1']))
    const { epoch, heads } = toHeads(rows)
    expect(epoch).toMatch(/^[\w-]{8}$/)
    expect(Object.fromEntries(heads)).toEqual({ 'a:1': 1, 'b:1': 2 })
  })

  it('leaves nothing and no hole after a rollback', async () => {
    const first = key()
    await start(first)
    const transaction = await database.begin({ operationId: first.id })
    await transaction.db.query('insert into things values ($1)', [first.id])
    await transaction.rollback()
    expect(await hasThing(first.id)).toBe(false)

    const second = key()
    await start(second)
    const next = await database.begin({ operationId: second.id })
    const events = [event('hole:1', 1)]
    const ending = await next.commit([flush(second, events)])
    expect(flushed(ending, events)).toMatchObject({ offsets: new Map([['hole:1', 1]]) })
  })

  it('stores the same of one event alone as of several, with the time that it answers', async () => {
    for (const [n, count] of [1, 2, 1].entries()) {
      const operation = key()
      const transaction = await database.begin({ operationId: operation.id })
      const events = Array.from({ length: count }, (_, i) => event('same:1', n + i))
      const row = flushed(await transaction.commit([flush(operation, events)]), events) as FlushRow
      const stored = (await eventsOf('same:1')).filter(({ operationId }) => operationId === operation.id)
      expect(stored.map(({ type, data, at }) => ({ type, data, at }))).toEqual(
        events.map(({ type, data }) => ({ type, data, at: row.at })),
      )
      expect(row.offsets).toEqual(new Map([['same:1', stored.at(-1)?.offset]]))
    }
    expect((await eventsOf('same:1')).map(({ offset }) => offset)).toEqual([1, 2, 3, 4])
  })

  it('refuses a statement after the end, and never sends it', async () => {
    const operation = key()
    await start(operation)
    const transaction = await database.begin({ operationId: operation.id })
    transaction.close()
    await expect(
      transaction.db.query('insert into things values ($1)', [operation.id]),
    ).rejects.toMatchObject({ code: 'LS_TRANSACTION_CLOSED' })
    await transaction.rollback()
    expect(await hasThing(operation.id)).toBe(false)
  })

  it.each(['commit', '  COMMIT', '/* x */ rollback', '-- x\nend', 'begin', 'abort', 'start transaction'])(
    'refuses %j inside a transaction',
    async (text) => {
      const operation = key()
      const transaction = await database.begin({ operationId: operation.id })
      await expect(transaction.db.query(text)).rejects.toMatchObject({ code: 'LS_TRANSACTION_CONTROL' })
      await transaction.rollback()
    },
  )

  it('reports the error of a failed statement although the user swallowed it, and commits nothing', async () => {
    const operation = key()
    await start(operation)
    const transaction = await database.begin({ operationId: operation.id })
    await transaction.db.query('insert into things values ($1)', [operation.id])
    await transaction.db.query('select 1 / 0').catch(() => {})
    const ending = await transaction.commit([flush(operation, [event('swallowed:1', 1)])])
    expect(ending.ending).toBe('rolled_back')
    expect(await hasThing(operation.id)).toBe(false)
    expect(await eventsOf('swallowed:1')).toEqual([])
    expect(await stateOf(operation.id)).toBeUndefined()
    expect(await openOf(operation)).toEqual([operation.id])
  })

  it('reports a deferred constraint that fails at COMMIT as a rollback', async () => {
    const operation = key()
    await start(operation)
    const transaction = await database.begin({ operationId: operation.id })
    await transaction.db.query('insert into late values (1, 99)')
    const ending = await transaction.commit([flush(operation, [event('late:1', 1)])])
    expect(rollbackCodeOf(ending)).toBe('LS_CONSTRAINT_VIOLATED')
    expect(await eventsOf('late:1')).toEqual([])
  })

  it('undoes a savepoint and keeps the rest', async () => {
    const operation = key()
    await start(operation)
    const inner = randomUUID()
    const transaction = await database.begin({ operationId: operation.id })
    await transaction.db.query('insert into things values ($1)', [operation.id])
    const scope = await transaction.savepoint()
    await expect(transaction.db.query('select 1')).rejects.toMatchObject({ code: 'LS_SAVEPOINT_OPEN' })
    await scope.db.query('insert into things values ($1)', [inner])
    await scope.db.query('select 1 / 0').catch(() => {})
    await scope.rollback()
    await expect(scope.db.query('select 1')).rejects.toMatchObject({ code: 'LS_TRANSACTION_CLOSED' })
    expect((await transaction.commit([flush(operation, [])])).ending).toBe('committed')
    expect(await hasThing(operation.id)).toBe(true)
    expect(await hasThing(inner)).toBe(false)
  })

  it('undoes a savepoint that cannot be released, says why, and keeps the rest', async () => {
    const operation = key()
    await start(operation)
    const inner = randomUUID()
    const transaction = await database.begin({ operationId: operation.id })
    await transaction.db.query('insert into things values ($1)', [operation.id])
    const scope = await transaction.savepoint()
    await scope.db.query('insert into things values ($1)', [inner])
    await scope.db.query('select 1 / 0').catch(() => {})
    await expect(scope.release()).rejects.toMatchObject({ code: '25P02' })
    expect((await transaction.commit([flush(operation, [])])).ending).toBe('committed')
    expect(await hasThing(operation.id)).toBe(true)
    expect(await hasThing(inner)).toBe(false)
  })

  it('reads one state in a snapshot, and cannot write in it', async () => {
    const write = database.snapshot(({ db }) => db.query('insert into things values ($1)', [randomUUID()]))
    await expect(write).rejects.toThrow(/read-only/)
    await database.snapshot(async ({ own }) => {
      const { rows } = await own.query(readHeads(database.schema, ['b:1']))
      expect(toHeads(rows).heads.get('b:1')).toBe(2)
    })
  })

  it('sends nothing of a snapshot that has ended', async () => {
    const kept = await database.snapshot(async (snapshot) => snapshot)
    // The connection may be another transaction's by now.
    const late = kept.own.query(readHeads(database.schema, ['b:1']))
    await expect(late).rejects.toMatchObject({ code: 'LS_TRANSACTION_CLOSED' })
    await expect(kept.db.query('select 1')).rejects.toMatchObject({ code: 'LS_TRANSACTION_CLOSED' })
  })

  it('refuses a schema that a newer version has migrated', async () => {
    await database.own.query({
      text: `insert into ${database.schema}.migrations (version, name) values (9999, 'later')`,
    })
    const error: unknown = await database.migrate().catch((reason: unknown) => reason)
    expect(isLockstepError(error, 'LS_SCHEMA_NEWER')).toBe(true)
    await database.own.query({ text: `delete from ${database.schema}.migrations where version = 9999` })
  })
}

function rollbackCodeOf(ending: CommitResult): string {
  return ending.ending === 'rolled_back' ? toLockstepError(ending.error).code : ending.ending
}

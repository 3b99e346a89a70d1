import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { isLockstepError, type CommitEnding, type Database, type SqlClient } from '../../src/core/index.ts'
import {
  clearIntents,
  flushOperation,
  forgetOrphans,
  readEvents,
  readHeads,
  readOpen,
  readOperations,
  readOrphans,
  registerNode,
  settleOperation,
  toEventRow,
  toFlushRow,
  toHeads,
  toLockstepError,
  toOperationRow,
  writeIntents,
  type FlushRow,
  type OperationKey,
  type OrphanRow,
  type IntentSlot,
  type PendingEvent,
  type SettleRow,
} from '../../src/postgres/index.ts'
import type { Notice } from '../../src/protocol/index.ts'

export interface DatabaseFixture {
  readonly database: Database<SqlClient>
  close(): Promise<void>
}

/** What every driver must do. Each driver's own test file calls this, and adds only what is particular to it. */
export function databaseConformance(name: string, open: () => Promise<DatabaseFixture>): void {
  describe(`database contract: ${name}`, () => {
    let fixture: DatabaseFixture
    let database: Database<SqlClient>
    const node = randomUUID()

    beforeAll(async () => {
      fixture = await open()
      database = fixture.database
      await database.migrate()
      await database.own.query(registerNode(database.schema, node, 60_000))
      await database.db.query('create table things (id text primary key, body text)')
      await database.db.query(
        `create table late (id int primary key, of int references late (id) deferrable initially deferred)`,
      )
    })
    afterAll(() => fixture.close())

    const key = (id: string = randomUUID()): OperationKey => ({
      id,
      name: 'test',
      userId: 'ada',
      node,
      inputHash: 'hash',
    })
    const notice = (id: string): Notice => ({
      transactionId: id,
      failedOperation: 'test',
      errorMessage: 'The operation failed.',
      errorCode: 'LS_OPERATION_FAILED',
      affectedLayers: ['database'],
      recoveryActions: ['retry'],
      userMessage: 'Not saved.',
    })
    let batches = 0
    /** Notes them as one batch, in a slot of its own unless told otherwise. @returns the ids that have an outcome */
    const start = async (
      operations: OperationKey | readonly OperationKey[],
      at: Partial<IntentSlot> = {},
    ) => {
      batches += 1
      const slot = { node, slot: batches, batch: batches, ...at }
      const { rows } = await database.own.query<{ id: string }>(
        writeIntents(database.schema, slot, [operations].flat()),
      )
      return rows.map((row) => row.id)
    }
    const openOf = async (...operations: readonly OperationKey[]) => {
      const ids = operations.map(({ id }) => id)
      const { userId = '' } = operations[0] ?? {}
      const { rows } = await database.own.query<{ id: string }>(readOpen(database.schema, userId, ids))
      return rows.map((row) => row.id)
    }
    const flush = (operation: OperationKey, events: readonly PendingEvent[]) =>
      flushOperation(database.schema, operation, '{"ok":true}', events)
    const flushed = (ending: CommitEnding<unknown>, events: readonly PendingEvent[]) =>
      ending.ending === 'committed' ? toFlushRow(ending.flushed.rows[0], events) : ending.ending
    const settle = async (operation: OperationKey) => {
      const statement = settleOperation(database.schema, operation, notice(operation.id), 2_000)
      return (await database.own.query<SettleRow>(statement)).rows[0]
    }
    const eventsOf = async (channel: string) =>
      (await database.own.query(readEvents(database.schema, channel, 0, 1_000))).rows.map(toEventRow)
    const stateOf = async (id: string, userId = 'ada') =>
      (await database.own.query(readOperations(database.schema, userId, [id]))).rows.map(toOperationRow)[0]
    const hasThing = async (id: string) =>
      (await database.db.query('select 1 from things where id = $1', [id])).rows.length === 1
    const event = (channel: string, n: number): PendingEvent => ({
      channel,
      type: 'noted',
      data: JSON.stringify({ n, text: 'ü "\\ \u2028' }),
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
      const ending = await transaction.commit(flush(operation, events))
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
      const ending = await next.commit(flush(second, events))
      expect(flushed(ending, events)).toMatchObject({ offsets: new Map([['hole:1', 1]]) })
    })

    it('stores the same of one event alone as of several, with the time that it answers', async () => {
      for (const [n, count] of [1, 2, 1].entries()) {
        const operation = key()
        const transaction = await database.begin({ operationId: operation.id })
        const events = Array.from({ length: count }, (_, i) => event('same:1', n + i))
        const row = flushed(await transaction.commit(flush(operation, events)), events) as FlushRow
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
      const ending = await transaction.commit(flush(operation, [event('swallowed:1', 1)]))
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
      const ending = await transaction.commit(flush(operation, [event('late:1', 1)]))
      expect(rollbackCodeOf(ending)).toBe('LS_CONSTRAINT_VIOLATED')
      expect(await eventsOf('late:1')).toEqual([])
    })

    it('fences a flush whose operation was settled meanwhile: the rows go with it', async () => {
      const operation = key()
      await start(operation)
      expect(await settle(operation)).toMatchObject({ settled: true, state: 'rolled_back' })
      const transaction = await database.begin({ operationId: operation.id })
      await transaction.db.query('insert into things values ($1)', [operation.id])
      const ending = await transaction.commit(flush(operation, [event('fenced:1', 1)]))
      expect(rollbackCodeOf(ending)).toBe('LS_OPERATION_FENCED')
      expect(await hasThing(operation.id)).toBe(false)
      expect(await eventsOf('fenced:1')).toEqual([])
    })

    it('commits without an intent, once for each id', async () => {
      const operation = key()
      for (const expected of ['committed', 'rolled_back']) {
        const transaction = await database.begin({ operationId: operation.id })
        const ending = await transaction.commit(flush(operation, [event('once:1', 1)]))
        expect(ending.ending).toBe(expected)
      }
      expect(await eventsOf('once:1')).toHaveLength(1)
    })

    it('settles once: one flip, one notice, and the committed stays committed', async () => {
      const operation = { ...key(), userId: 'grace' }
      await start(operation)
      expect(await settle(operation)).toMatchObject({ settled: true, state: 'rolled_back' })
      expect(await settle(operation)).toMatchObject({ settled: false, state: 'rolled_back' })
      const told = await eventsOf('user:grace')
      expect(told.map((row) => [row.offset, row.type, row.operationId])).toEqual([
        [1, 'transaction_rolled_back', operation.id],
      ])

      const kept = { ...key(), userId: 'grace' }
      await start(kept)
      const transaction = await database.begin({ operationId: kept.id })
      await transaction.commit(flush(kept, []))
      expect(await settle(kept)).toMatchObject({ settled: false, state: 'committed' })
      expect(await eventsOf('user:grace')).toHaveLength(1)
    })

    it('one id of two users is two operations: each has its intent, its outcome, its result and its notice', async () => {
      const id = randomUUID()
      const [hers, theirs] = [
        { ...key(id), userId: 'heidi' },
        { ...key(id), userId: 'mallory' },
      ]
      await start([hers, theirs])
      expect(await settle(theirs)).toMatchObject({ settled: true, state: 'rolled_back', user_id: 'mallory' })
      expect([await openOf(hers), await openOf(theirs)]).toEqual([[id], []])
      const transaction = await database.begin({ operationId: id })
      expect((await transaction.commit(flush(hers, []))).ending).toBe('committed')
      expect(await settle(hers)).toMatchObject({ settled: false, state: 'committed', user_id: 'heidi' })
      expect(await settle(theirs)).toMatchObject({ settled: false, state: 'rolled_back' })
      expect(await stateOf(id, 'heidi')).toMatchObject({ userId: 'heidi', result: '{"ok":true}' })
      expect(await stateOf(id, 'mallory')).toMatchObject({ userId: 'mallory', result: null })
      expect([await eventsOf('user:heidi'), await eventsOf('user:mallory')]).toMatchObject([
        [],
        [{ operationId: id }],
      ])
    })

    it('settles an operation that never landed, and fences its late copy', async () => {
      const operation = key()
      expect(await settle(operation)).toMatchObject({ settled: true, state: 'rolled_back' })
      expect(await start(operation)).toEqual([operation.id])
      const transaction = await database.begin({ operationId: operation.id })
      expect(rollbackCodeOf(await transaction.commit(flush(operation, [])))).toBe('LS_OPERATION_FENCED')
    })

    it('notes a batch over the one before it, and never over a later one, whenever its statement arrives', async () => {
      const [first, second, late] = [[key(), key()], [key()], key()]
      expect(await start(first, { slot: 900, batch: 900 })).toEqual([])
      expect(await openOf(...first)).toHaveLength(2)
      await start(second, { slot: 900, batch: 902 })
      expect(await openOf(...first, ...second)).toEqual(second.map(({ id }) => id))
      await start(late, { slot: 900, batch: 901 })
      await database.own.query(clearIntents(database.schema, node, [900], 901))
      expect(await openOf(...second, late)).toEqual(second.map(({ id }) => id))
      await database.own.query(clearIntents(database.schema, node, [900], 902))
      expect(await openOf(...second)).toEqual([])
    })

    it('finds what nodes without a lease left open, and keeps their intents until all of it is settled', async () => {
      const [dead, gone] = [randomUUID(), randomUUID()]
      await database.own.query(registerNode(database.schema, dead, -1))
      const [left, alive, ended, other] = [
        { ...key(), node: dead },
        key(),
        { ...key(), node: gone },
        { ...key(), node: gone },
      ]
      await start(alive)
      await start(left, { node: dead, slot: 0 })
      await start([ended, other], { node: gone, slot: 0 })
      await settle(ended)
      const orphans = async () => {
        const { rows } = await database.own.query<OrphanRow>(readOrphans(database.schema, 10))
        return new Set(rows.map(({ id }) => id))
      }
      expect(await orphans()).toEqual(new Set([left.id, other.id]))
      const forget = () => database.own.query(forgetOrphans(database.schema))
      await settle(left)
      await forget()
      expect(await orphans()).toEqual(new Set([other.id]))
      await settle(other)
      expect(await orphans()).toEqual(new Set([null]))
      await forget()
      expect(await orphans()).toEqual(new Set())
      expect(await openOf(alive)).toEqual([alive.id])
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
      expect((await transaction.commit(flush(operation, []))).ending).toBe('committed')
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
      expect((await transaction.commit(flush(operation, []))).ending).toBe('committed')
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
  })
}

function rollbackCodeOf(ending: CommitEnding<unknown>): string {
  return ending.ending === 'rolled_back' ? toLockstepError(ending.error).code : ending.ending
}

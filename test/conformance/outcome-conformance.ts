import { randomUUID } from 'node:crypto'
import { beforeAll, expect, it } from 'vitest'
import type { CommitResult, Database, SqlClient } from '../../src/core/index.ts'
import {
  clearIntents,
  forgetOrphans,
  readOrphans,
  registerNode,
  toLockstepError,
  type OrphanRow,
} from '../../src/postgres/index.ts'
import type { DatabaseWorld } from './database-world.ts'

/** Outcomes: intents, fences and settlements, whatever arrives late or twice. */
export function outcomeConformance(world: DatabaseWorld): void {
  const { node, key, start, openOf, flush, settle, eventsOf, stateOf, hasThing, event } = world
  let database: Database<SqlClient>
  beforeAll(() => {
    database = world.database
  })

  it('fences a flush whose operation was settled meanwhile: the rows go with it', async () => {
    const operation = key()
    await start(operation)
    expect(await settle(operation)).toMatchObject({ settled: true, state: 'rolled_back' })
    const transaction = await database.begin({ operationId: operation.id })
    await transaction.db.query('insert into things values ($1)', [operation.id])
    const ending = await transaction.commit([flush(operation, [event('fenced:1', 1)])])
    expect(rollbackCodeOf(ending)).toBe('LS_OPERATION_FENCED')
    expect(await hasThing(operation.id)).toBe(false)
    expect(await eventsOf('fenced:1')).toEqual([])
  })

  it('commits without an intent, once for each id', async () => {
    const operation = key()
    for (const expected of ['committed', 'rolled_back']) {
      const transaction = await database.begin({ operationId: operation.id })
      const ending = await transaction.commit([flush(operation, [event('once:1', 1)])])
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
    await transaction.commit([flush(kept, [])])
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
    expect((await transaction.commit([flush(hers, [])])).ending).toBe('committed')
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
    expect(rollbackCodeOf(await transaction.commit([flush(operation, [])]))).toBe('LS_OPERATION_FENCED')
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
}

function rollbackCodeOf(ending: CommitResult): string {
  return ending.ending === 'rolled_back' ? toLockstepError(ending.error).code : ending.ending
}

// Intents, the durable notes of what has started: where they stand, when they go, and what outlives a node that dies.
import { randomUUID } from 'node:crypto'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import { Retention } from '../../../src/log/index.ts'
import { newOperationId, silentLogger } from '../../../src/index.ts'
import { systemClock } from '../../../src/core/index.ts'
import { fromPool, operationPages, trimOperations } from '../../../src/postgres/index.ts'
import { migrations } from '../../../src/postgres/migrations.generated.ts'
import { createDatabase, databaseUrl, dropDatabase } from '../../../tools/embedded-postgres/index.ts'
import { centrifuge, connected, serve } from '../../support/sockets.ts'
import { createWorld, type World } from '../../support/world.ts'

let world: World

beforeAll(async () => {
  world = await createWorld()
})
afterAll(() => world.close())

const noted = async (id: string): Promise<boolean> =>
  (await world.rows('select from lockstep.intents where $1 = any(ids)', [id])).length > 0
const slots = async (): Promise<number> => (await world.rows('select from lockstep.intents')).length

/** Starts an operation that runs until it is released, once its intent stands. */
async function running(on: World, id: string, user = 'ada') {
  let release = (): void => {}
  const gate = new Promise<void>((resolve) => (release = resolve))
  const ended = on.lockstep.transaction({ name: 'long', user, id }, () => gate)
  await expect.poll(() => noted(id)).toBe(true)
  return { ended, release }
}

describe('an intent', () => {
  it('stands while its operation runs, whatever comes after it, and is gone soon after the last has ended', async () => {
    const id = newOperationId()
    const long = await running(world, id)
    for (let n = 0; n < 50; n++)
      await world.lockstep.transaction({ name: 'short', user: 'ada' }, async () => {})
    await Promise.all(
      Array.from({ length: 500 }, () =>
        world.lockstep.transaction({ name: 'short', user: 'ada' }, async () => {}),
      ),
    )
    expect(await noted(id)).toBe(true)
    expect(await slots()).toBeLessThan(30)
    long.release()
    await long.ended
    await expect.poll(slots).toBe(0)
  })

  it('of an id that was used before goes, too: a refused call leaves nothing behind', async () => {
    const id = newOperationId()
    const options = { id, user: 'ada' }
    const input = { room: 'a', id: 'i1', text: 'x' }
    await world.addNote.call(input, options)
    await expect(world.addNote.call({ ...input, text: 'y' }, options)).rejects.toMatchObject({
      code: 'LS_OPERATION_ID_REUSED',
    })
    await world.addNote.call(input, options)
    await expect.poll(slots).toBe(0)
  })

  it('is removed by a clean end of its node', async () => {
    const other = await createWorld({ databaseUrl: world.url })
    await other.addNote.call({ room: 'a', id: 'i2', text: 'x' }, { user: 'ada' })
    await other.close()
    expect(await slots()).toBe(0)
  })

  it('shows another node that the operation runs, if it is the same user who asks', async () => {
    const other = await createWorld({ databaseUrl: world.url })
    const served = await serve(other)
    const [ada, eve] = [
      await connected(centrifuge(served.url, 'ada')),
      await connected(centrifuge(served.url, 'eve')),
    ]
    const id = newOperationId()
    const long = await running(world, id)
    try {
      const ask = { ids: [id] }
      expect((await ada.rpc('lockstep.outcomes', ask)).data).toEqual({
        outcomes: [{ outcome: 'pending', operationId: id }],
      })
      expect((await eve.rpc('lockstep.outcomes', ask)).data).toEqual({
        outcomes: [{ outcome: 'never_received', operationId: id }],
      })
      long.release()
      await long.ended
      expect((await ada.rpc('lockstep.outcomes', ask)).data).toMatchObject({
        outcomes: [{ outcome: 'committed' }],
      })
    } finally {
      ada.disconnect()
      eve.disconnect()
      await other.close()
      await served.close()
    }
  })
})

it('an operation that runs on is not settled by its own node, which had lost its lease in between', async () => {
  const lone = await createWorld()
  try {
    const id = newOperationId()
    let release = (): void => {}
    const gate = new Promise<void>((resolve) => (release = resolve))
    const ended = lone.lockstep.transaction({ name: 'long', user: 'ada', id }, () => gate)
    await expect.poll(() => lone.rows('select from lockstep.intents')).toHaveLength(1)
    await lone.rows(`update lockstep.nodes set lease_until = '-infinity'`)
    const isBack = () => lone.logger.lines.some(({ message }) => message.includes('has a new lease'))
    await expect.poll(isBack).toBe(true)
    // An orphan of another node shows that a round of settling has gone by since: its intent is removed at the end of
    // one.
    const left = newOperationId()
    await lone.rows(
      `insert into lockstep.intents (node, slot, batch, ids, names, user_ids, input_hashes)
       values (gen_random_uuid(), 0, 1, array[$1::uuid], array['left'], array['late'], array['left'])`,
      [left],
    )
    const noteOf = () => lone.rows('select from lockstep.intents where $1 = any(ids)', [left])
    await expect.poll(noteOf).toEqual([])
    release()
    await ended
    expect(await lone.rows('select state from lockstep.operations where id = $1', [id])).toEqual([
      { state: 'committed' },
    ])
    // The operation's own intent is removed, too, although it was written under the lease that was lost.
    await expect.poll(() => lone.rows('select from lockstep.intents')).toEqual([])
  } finally {
    await lone.close()
  }
})

describe('an intent of a node that died', () => {
  /** Intents are left as by a node that dies after its operations have ended, and before it has removed them. */
  const leave = async (ids: readonly string[], name: string) =>
    world.rows(
      `insert into lockstep.intents (node, slot, batch, ids, names, user_ids, input_hashes)
       select $2, 0, 1, array_agg(id), array_agg($3::text), array_agg('late'::text), array_agg($3::text)
       from unnest($1::uuid[]) as id`,
      [ids, randomUUID(), name],
    )

  it('keeps its outcome from being forgotten, so that nobody is notified of a rollback that did not happen', async () => {
    const old = newOperationId()
    await world.lockstep.transaction({ name: 'kept', user: 'late', id: old }, async () => 'done')
    await world.lockstep.transaction({ name: 'forgotten', user: 'late' }, async () => 'done')
    await expect.poll(slots).toBe(0)
    await world.rows(`update lockstep.operations set settled_at = settled_at - interval '1 hour'`)
    await world.lockstep.close()
    await leave([old], 'kept')
    const { own, schema } = fromPool(world.pool)
    const retention = new Retention({
      own,
      clock: systemClock,
      logger: silentLogger,
      tables: [
        {
          pages: () => operationPages(schema),
          trim: (page, pages) =>
            trimOperations(schema, { outcomesMs: 60_000, closedIdsMs: 60_000 }, page, pages),
        },
      ],
    })
    await retention.step()
    expect(await world.rows('select name from lockstep.operations')).toEqual([{ name: 'kept' }])

    const next = await createWorld({ databaseUrl: world.url })
    try {
      await expect.poll(slots).toBe(0)
      expect(await world.rows('select state from lockstep.operations where id = $1', [old])).toEqual([
        { state: 'committed' },
      ])
      expect(await world.eventsOf('user:late')).toEqual([])
      await retention.step()
      expect(await world.rows('select name from lockstep.operations')).toEqual([])
    } finally {
      await next.close()
    }
  })

  it('stays until each of its operations is settled, also one whose COMMIT is still in flight', async () => {
    const [ended, inFlight] = [newOperationId(), newOperationId()]
    const flushing = new pg.Client({ connectionString: world.url })
    await flushing.connect()
    await flushing.query('begin')
    await flushing.query(
      `insert into lockstep.operations (id, name, user_id, input_hash, state, positions, settled_at)
       values ($1, 'flight', 'late', 'flight', 'committed', '{}', now())`,
      [inFlight],
    )
    await leave([ended, inFlight], 'flight')
    const next = await createWorld({ databaseUrl: world.url })
    try {
      await expect
        .poll(() =>
          next.logger.lines.some(({ message }) => message === 'an orphan was not settled this time'),
        )
        .toBe(true)
      expect(await noted(inFlight)).toBe(true)
      await flushing.query('commit')
      await expect.poll(slots).toBe(0)
      const told = (await world.eventsOf('user:late')).map((event) => event.operation_id)
      expect(told).toEqual([ended])
    } finally {
      await flushing.end()
      await next.close()
    }
  })
})

describe('a schema of the version before', () => {
  it('keeps what was open in it: it is settled, and its user is notified', async () => {
    const { url } = inject('postgres')
    const name = `lockstep_test_${randomUUID().slice(0, 8)}`
    await createDatabase(url, name)
    const pool = new pg.Pool({ connectionString: databaseUrl(url, name), max: 2 })
    try {
      await pool.query(
        `create schema lockstep;
         create table lockstep.migrations (version integer primary key, name text not null,
           applied_at timestamptz not null default now())`,
      )
      for (const { version, name: title, sql } of migrations.filter((one) => one.version < 5)) {
        await pool.query(sql.replaceAll('{schema}', '"lockstep"'))
        await pool.query('insert into lockstep.migrations (version, name) values ($1, $2)', [version, title])
      }
      const [open, committed] = [newOperationId(), newOperationId()]
      await pool.query(
        `insert into lockstep.operations (id, name, user_id, node, input_hash, state, settled_at)
         values ($1, 'add_note', 'old', $3, 'x', 'started', null), ($2, 'add_note', 'old', $3, 'x', 'committed', now())`,
        [open, committed, randomUUID()],
      )
      const next = await createWorld({ databaseUrl: databaseUrl(url, name) })
      try {
        await expect.poll(async () => (await next.eventsOf('user:old')).length).toBe(1)
        expect(await next.rows('select id, state from lockstep.operations order by state')).toEqual([
          { id: committed, state: 'committed' },
          { id: open, state: 'rolled_back' },
        ])
        const outcome = await next.addNote.call({ room: 'a', id: 'n', text: 'x' }, { user: 'ada' })
        expect(outcome).toMatchObject({ outcome: 'committed' })
      } finally {
        await next.close()
      }
    } finally {
      await pool.end()
      await dropDatabase(url, name)
    }
  })
})

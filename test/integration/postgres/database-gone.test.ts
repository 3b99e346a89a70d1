// Tables that were dropped, and a pool that was ended, under a node that runs: the error and the health say what happened.
import { PGlite } from '@electric-sql/pglite'
import { describe, expect, it } from 'vitest'
import {
  createLockstep,
  fromPglite,
  silentLogger,
  type SqlClient,
  type Transaction,
} from '../../../src/index.ts'
import { createWorld, room, type World } from '../../support/world.ts'

const noteOf = (id: string) => ({ user: 'ada', input: { room: 'a', id, text: 'x' } })

const healthOf = async (lockstep: World['lockstep']): Promise<Record<string, unknown>> => {
  const response = await lockstep.fetch(new Request('http://localhost/lockstep/health'))
  return (await response.json()) as Record<string, unknown>
}

const codeIn = (health: Record<string, unknown>): unknown =>
  (health['databaseTrouble'] as { readonly code?: unknown } | null)?.code

const health = { authorize: () => true }
const schemaMissing = {
  code: 'LS_SCHEMA_MISSING',
  retryable: false,
  message: expect.stringMatching(/"lockstep".*backup.*(?:start|restart)/s) as string,
}

describe('a schema that was dropped', () => {
  it('is said to whoever calls and reads, and by health, until a node has made it anew', async () => {
    const world = await createWorld({ health, bus: false })
    try {
      const { lockstep, addNote } = world
      const read = lockstep.query('read', {
        input: { '~standard': { version: 1, vendor: 'x', validate: (value) => ({ value }) } },
        run: ({ position }) => position(room({ id: 'a' })),
      })
      await world.direct.query('drop schema lockstep cascade')
      expect((await addNote.execute(noteOf('refused'))).error).toMatchObject(schemaMissing)
      await expect(read.execute({}, { id: 'ada' }, new AbortController().signal)).rejects.toMatchObject(
        schemaMissing,
      )
      await expect(lockstep.rollout.set('add_note', 'off')).rejects.toMatchObject(schemaMissing)
      await expect.poll(() => healthOf(lockstep).then(codeIn)).toBe('LS_SCHEMA_MISSING')
      expect(await healthOf(lockstep)).toMatchObject({ status: 'degraded' })
      expect(await world.rows('select from notes')).toEqual([])

      const next = await createWorld({ databaseUrl: world.url, bus: false })
      try {
        await expect
          .poll(() => healthOf(lockstep).then(({ status }) => status), { timeout: 15_000 })
          .toBe('ok')
        expect(await addNote.call(noteOf('later').input, { user: 'ada' })).toMatchObject({
          outcome: 'committed',
        })
      } finally {
        await next.close()
      }
    } finally {
      await world.close()
    }
  })

  it('rolls back the operations that are open, and reports why', async () => {
    const world = await createWorld({ health, bus: false })
    try {
      const outcome = world.lockstep.transaction({ name: 'open', user: 'ada' }, async (tx) => {
        await tx.db.query(`insert into notes values ('open', 'x')`)
        tx.emit(room({ id: 'a' }), 'counted', { n: 1 })
        await world.direct.query('drop schema lockstep cascade')
      })
      await expect(outcome).rejects.toMatchObject(schemaMissing)
      expect(await world.rows('select from notes')).toEqual([])
    } finally {
      await world.close()
    }
  })

  it('is another thing than a table of the application that is missing', async () => {
    const world = await createWorld({ health, bus: false })
    try {
      const selecting = async (tx: Transaction<SqlClient>): Promise<void> => {
        await tx.db.query('select from lockstep_like.nowhere')
      }
      await expect(
        world.lockstep.transaction({ name: 'select', user: 'ada' }, selecting),
      ).rejects.toMatchObject({ code: '42P01' })
      expect(await healthOf(world.lockstep)).toMatchObject({ status: 'ok', databaseTrouble: null })
    } finally {
      await world.close()
    }
  })
})

describe('a database that the application has closed', () => {
  const closed = {
    code: 'LS_DATABASE_CLOSED',
    retryable: false,
    message: expect.stringMatching(/await lockstep\.close\(\) first/) as string,
  }

  it('pool.end() before close is said, for as long as the node runs', async () => {
    const world = await createWorld({ health, bus: false })
    try {
      await world.pool.end()
      expect(codeIn(await healthOf(world.lockstep))).toBe('LS_DATABASE_CLOSED')
      expect((await world.addNote.execute(noteOf('refused'))).error).toMatchObject(closed)
      expect(await healthOf(world.lockstep)).toMatchObject({ status: 'degraded' })
    } finally {
      await world.lockstep.close({ drainMs: 0 })
      await world.direct.end()
    }
  })

  it('pglite.close() before close is said likewise', async () => {
    const pglite = await PGlite.create()
    const lockstep = createLockstep({ database: fromPglite(pglite), logger: silentLogger, health })
    await lockstep.start()
    await pglite.close()
    expect(codeIn(await healthOf(lockstep as never))).toBe('LS_DATABASE_CLOSED')
    await expect(
      lockstep.transaction({ name: 'refused', user: 'ada' }, async (tx) => {
        await tx.db.query('select 1')
      }),
    ).rejects.toMatchObject(closed)
    await lockstep.close({ drainMs: 0 })
  })
})

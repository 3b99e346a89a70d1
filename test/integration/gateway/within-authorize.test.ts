import pg from 'pg'
import { expect, it } from 'vitest'
import { z } from 'zod'
import { createLockstep, fromPool, silentLogger } from '../../../src/index.ts'
import { createTestDatabase } from '../../support/database.ts'

it('an operation within another one is authorized over the connection that that one has', async () => {
  const test = await createTestDatabase()
  const pool = new pg.Pool({ connectionString: test.url, max: 1 })
  const lockstep = createLockstep({ database: fromPool(pool), logger: silentLogger })
  const inner = lockstep.operation('inner', {
    input: z.object({ may: z.boolean() }),
    authorize: async ({ db, input }) =>
      (await db.query<{ may: boolean }>('select $1::boolean as may', [input.may])).rows[0]?.may === true,
    run: async () => 'done',
  })
  const outer = lockstep.operation('outer', {
    input: z.object({ may: z.boolean() }),
    run: async ({ tx, input }) => {
      await tx.db.query('select 1')
      return inner.within(tx, input)
    },
  })
  await lockstep.start()
  const call = (may: boolean) => outer.call({ may }, { user: 'ada' })
  expect(await call(true)).toMatchObject({ outcome: 'committed', result: 'done' })
  expect(await call(false)).toMatchObject({ outcome: 'rolled_back' })
  await lockstep.close()
  await pool.end()
  await test.drop()
})

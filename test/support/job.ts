// A task of two steps, each with one effect in the database, and a first try that throws. Two nodes declare it.
import { z } from 'zod'
import type { Lockstep, PgDatabase } from '../../src/index.ts'

export const effectsTable = 'create table if not exists effects (run uuid not null, step text not null)'

/** @param throwsFirst the second step throws in the first attempt */
export function declareJob(lockstep: Lockstep<PgDatabase>, throwsFirst: boolean) {
  return lockstep.task('job', {
    input: z.object({}),
    retry: { attempts: 3, backoffMs: 10 },
    async run({ step, runId }) {
      for (const name of ['first', 'second'] as const) {
        await step.do(name, {
          async work({ attempt }) {
            if (throwsFirst && name === 'second' && attempt === 1) throw new Error('not yet')
            return name
          },
          async commit(tx, value) {
            await tx.db.query('insert into effects values ($1, $2)', [runId, value])
          },
        })
      }
      return 'done'
    },
  })
}

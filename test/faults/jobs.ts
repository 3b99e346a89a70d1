// Runs under faults: what a job is asked to do, and what a node declares of it.
import { setTimeout as pause } from 'node:timers/promises'
import { z } from 'zod'
import type { Lockstep, PgDatabase } from '../../src/index.ts'

/** Users of jobs: their operations are checked as runs, and by no other rule. */
export const isRunner = (user: string): boolean => user.startsWith('runner')

/** Channels of jobs, which nobody listens to: their events are read from the log. */
export const jobsChannel = 'jobs'

/** Rows that the steps of jobs leave. No key forbids a second row of one step: the checker looks for it. */
export const jobTables = `
  create table job_effects (
    run uuid not null, step text not null, attempt integer not null, stopped boolean not null
  );`

const planShape = z.object({
  /** Channel in which the states stand. */
  place: z.number(),
  /** Time that the work of each step takes, in milliseconds. */
  workMs: z.array(z.number()),
  /** The step that throws in the first attempt. */
  throwsAt: z.number().optional(),
  /** Time that the transaction of each step stays open, by the number of the attempt, the last one for all further ones. */
  holdMs: z.array(z.number()).optional(),
})
export type JobPlan = z.infer<typeof planShape>

/** Declares the job, and the operations by which clients start and stop it. */
export function declareJobs(lockstep: Lockstep<PgDatabase>): void {
  const channel = lockstep.channel(`${jobsChannel}:{place}`, { events: {}, canSubscribe: () => true })
  const job = lockstep.task('job', {
    input: planShape,
    channel: ({ input }) => channel({ place: String(input.place) }),
    retry: { attempts: 5, backoffMs: 20 },
    async run({ input, step, runId }) {
      for (const [index, workMs] of input.workMs.entries()) {
        await step.do(['part', index], {
          async work({ signal, attempt }) {
            await pause(workMs, undefined, { signal }).catch(() => {})
            if (input.throwsAt === index && attempt === 1) throw new Error('the work of a step failed')
            return index
          },
          async commit(tx, value, { stopped, attempt }) {
            await tx.db.query('insert into job_effects values ($1, $2, $3, $4)', [
              runId,
              `["part",${value}]`,
              attempt,
              stopped,
            ])
            const { holdMs = [] } = input
            const forMs = holdMs[Math.min(attempt, holdMs.length) - 1]
            if (forMs !== undefined) await pause(forMs)
          },
        })
      }
      return input.workMs.length
    },
  })
  lockstep.operation('start_job', {
    input: planShape,
    run: async ({ input, tx }) => ({ run: tx.start(job, input).id }),
  })
  lockstep.operation('stop_job', {
    input: z.object({ run: z.string() }),
    run: async ({ input }) => {
      await job.stop(input.run)
      return {}
    },
  })
}

// kill -9 of the node of a run, at each place where that could tell: another node goes on within the lease and two seconds,
// each step has its effect once, and the run ends once.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'
import { runFaultPoints } from '../../src/core/fault-point.ts'
import { newOperationId } from '../../src/index.ts'
import { createTestDatabase } from '../support/database.ts'
import { declareJob, effectsTable } from '../support/job.ts'
import { expectStates, stepsOf } from '../support/runs.ts'
import { createWorld } from '../support/world.ts'

const child = fileURLToPath(new URL('../support/run-node.ts', import.meta.url))
const leaseMs = 3_000

const places = runFaultPoints.flatMap((point) =>
  // The second step as well: the first one has committed by then.
  (point === 'runs.before-step' ? [0, 1] : [0]).map((skip) => ({ point, skip })),
)

it.each(places)('$point, after $skip passes', { timeout: 60_000 }, async ({ point, skip }) => {
  const database = await createTestDatabase()
  const world = await createWorld({ databaseUrl: database.url, bus: false })
  await world.direct.query(effectsTable)
  const id = newOperationId()
  const throwsFirst = point.endsWith('throw-noted')
  const config = { databaseUrl: database.url, point, skip, id, throwsFirst }
  const node = spawn(process.execPath, ['--import', 'tsx', child], {
    env: { ...process.env, RUN_NODE: JSON.stringify(config) },
    stdio: 'inherit',
  })
  const [, signal] = (await once(node, 'exit')) as [number | null, string | null]
  expect(signal).toBe('SIGKILL')

  const killedAt = performance.now()
  const job = declareJob(world.lockstep, throwsFirst)
  expect(await job.ended(id)).toEqual({ state: 'completed', result: 'done' })
  const took = performance.now() - killedAt
  const effects = await world.rows('select step from effects where run = $1 order by step', [id])
  expect(effects).toEqual([{ step: 'first' }, { step: 'second' }])
  expect(await stepsOf(world, id)).toEqual(['first', 'second'])
  await expectStates(world, id, 'user:ada')
  const { rows: ends } = await world.direct.query(
    `select from lockstep.events where data ->> 'runId' = $1 and data ->> 'state' = 'completed'`,
    [id],
  )
  expect(ends).toHaveLength(1)
  expect(took).toBeLessThan(leaseMs + 2_000)
  await world.close()
  await database.drop()
})

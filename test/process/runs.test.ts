// A fault of the node of a run, at each place where that could tell. Killed, or halted for longer than its lease: another node goes
// on within the lease and two seconds. Thrown: the process lives, and whoever has the run goes on. Each step has its effect once,
// and the run ends once.
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'
import { runFaultPoints } from '../../src/core/fault-point.ts'
import { newOperationId } from '../../src/index.ts'
import { createTestDatabase } from '../support/database.ts'
import { declareJob, effectsTable } from '../support/job.ts'
import { expectStates, stepsOf } from '../support/runs.ts'
import { createWorld } from '../support/world.ts'

const child = fileURLToPath(new URL('../support/run-node.ts', import.meta.url))
const leaseMs = 2_000

const places = runFaultPoints.flatMap((point) =>
  // The second step as well: the first one has committed by then.
  (point === 'runs.before-step' ? [0, 1] : [0]).map((skip) => ({ point, skip })),
)
const faults = (['kill', 'stop', 'throw'] as const).flatMap((action) =>
  places.map((place) => ({ action, ...place })),
)

/** Waits until a process is halted, as Linux says. */
async function untilHalted({ pid }: ChildProcess): Promise<void> {
  await expect
    .poll(async () => (await readFile(`/proc/${pid}/stat`, 'utf8')).split(') ')[1]?.charAt(0), {
      timeout: 20_000,
    })
    .toBe('T')
}

it.each(faults)(
  '$action at $point, after $skip passes',
  { timeout: 60_000 },
  async ({ action, point, skip }) => {
    const database = await createTestDatabase()
    const world = await createWorld({ databaseUrl: database.url, bus: false, leaseMs })
    await world.direct.query(effectsTable)
    const id = newOperationId()
    const throwsFirst = point.endsWith('throw-noted')
    const config = { databaseUrl: database.url, point, action, skip, id, throwsFirst, leaseMs }
    const node = spawn(process.execPath, ['--import', 'tsx', child], {
      env: { ...process.env, RUN_NODE: JSON.stringify(config) },
      stdio: 'inherit',
    })
    const exited = once(node, 'exit') as Promise<[number | null, string | null]>
    // A node that throws ends when the run has ended.
    await (action === 'stop' ? untilHalted(node) : exited)

    const brokenAt = performance.now()
    const job = declareJob(world.lockstep, throwsFirst)
    expect(await job.ended(id)).toEqual({ state: 'completed', result: 'done' })
    const took = performance.now() - brokenAt
    // A halted node does now what it was about to do, and that counts for nothing.
    if (action === 'stop') node.kill('SIGCONT')
    expect(await exited).toEqual(action === 'kill' ? [null, 'SIGKILL'] : [0, null])
    const effects = await world.rows('select step from effects where run = $1 order by step', [id])
    expect(effects).toEqual([{ step: 'first' }, { step: 'second' }])
    expect(await stepsOf(world, id)).toEqual(['first', 'second'])
    await expectStates(world, id, 'user:ada')
    const { rows: ends } = await world.direct.query(
      `select from lockstep.events where data ->> 'runId' = $1 and data ->> 'state' = 'completed'`,
      [id],
    )
    expect(ends).toHaveLength(1)
    // An attempt that is over before its note has come counts no throw.
    const isNoted =
      action === 'throw'
        ? throwsFirst || point === 'runs.before-step'
        : throwsFirst && point === 'runs.after-throw-noted'
    const thrown = await world.rows('select thrown from lockstep.run_tries where run = $1', [id])
    expect(thrown).toEqual(isNoted ? [{ thrown: 1 }] : [])
    expect(took).toBeLessThan(leaseMs + 2_000)
    await world.close()
    await database.drop()
  },
)

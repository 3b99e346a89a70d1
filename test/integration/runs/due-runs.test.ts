// The runs that a node asks for, to take them on, and what it tells of those that nobody takes.
import { randomUUID } from 'node:crypto'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { systemClock, type Queryable } from '../../../src/core/index.ts'
import { fromPool } from '../../../src/index.ts'
import { readRunsOfDeadNodes } from '../../../src/postgres/index.ts'
import { DueRuns } from '../../../src/runs/execution/due-runs.ts'
import { UndeclaredTasks } from '../../../src/runs/execution/undeclared-tasks.ts'
import { RunStore } from '../../../src/runs/store/run-store.ts'
import { ManualClock } from '../../support/manual-clock.ts'
import { addNode, addRun, claim, schema } from '../../support/run-rows.ts'
import { createTestLogger, createWorld, type World } from '../../support/world.ts'

let world: World
let own: Queryable
let store: RunStore
beforeEach(async () => {
  world = await createWorld({ bus: false, monitor: { level: 'off' } })
  own = fromPool(world.direct).own
  store = new RunStore({ own, schema, epoch: () => '', deliver: () => {} })
})
afterEach(() => world.close())

const due = { tasks: ['import'], limit: 10, except: [] }
const expire = (node: string) =>
  world.direct.query(`update lockstep.nodes set lease_until = now() - interval '1 ms' where node = $1`, [
    node,
  ])

test('runs of dead nodes are taken on before those that wait', async () => {
  const [lost, waiting, dead] = [await addRun(own), await addRun(own), await addNode(own)]
  await claim(own, lost, dead)
  await expire(dead)
  const found = await new DueRuns(store, systemClock).find(['import'], 1, randomUUID())
  expect(found.map(({ id }) => id)).toEqual([lost, waiting])
})

test('dead nodes are looked for when the first lease may have run out, and by no scan of the runs', async () => {
  const [run, mine, other] = [await addRun(own), await addNode(own), await addNode(own, 60_000)]
  await claim(own, run, other)
  await world.direct.query(`delete from lockstep.nodes where node <> all($1)`, [[mine, other]])
  await world.direct.query(
    `update lockstep.nodes set lease_until = now() + interval '700 ms' where node = $1`,
    [other],
  )
  const clock = new ManualClock()
  const runs = new DueRuns(store, clock)
  expect(await runs.find(['import'], 5, mine)).toEqual([])
  expect(runs.watchInMs).toBeGreaterThan(300)
  expect(runs.watchInMs).toBeLessThanOrEqual(720)
  await expire(other)
  expect(await runs.find(['import'], 5, mine)).toEqual([])
  clock.advance(720)
  expect((await runs.find(['import'], 5, mine)).map(({ id }) => id)).toEqual([run])
  const { text, values = [] } = readRunsOfDeadNodes(schema, due)
  const client = await world.direct.connect()
  await client.query('set enable_seqscan = off')
  const plan = await client.query(`explain ${text}`, [...values])
  client.release()
  expect(JSON.stringify(plan.rows)).toContain('runs_owned')
})

test('a run whose claim waits in vain is left out for a while, and holds up no other', async () => {
  const [stuck, other] = [await addRun(own), await addRun(own)]
  const clock = new ManualClock()
  const runs = new DueRuns(store, clock)
  const first = async (): Promise<string | undefined> =>
    (await runs.find(['import'], 1, randomUUID())).map(({ id }) => id)[0]
  expect(await first()).toBe(stuck)
  runs.leaveOut(stuck)
  expect(await first()).toBe(other)
  clock.advance(500)
  expect(await first()).toBe(stuck)
  runs.leaveOut(stuck)
  clock.advance(600)
  expect(await first()).toBe(other)
})

test('a task is unknown where no node declares it, whichever node looks', async () => {
  const logger = createTestLogger()
  const nodes = [['import', 'report'], ['answer']].map(
    (names) => new UndeclaredTasks({ store, clock: new ManualClock(), logger, declared: () => names }),
  )
  const dead = await addNode(own)
  const [, , stuck] = [
    await addRun(own),
    await addRun(own, { task: 'answer' }),
    await addRun(own, { task: 'repot' }),
  ]
  await addRun(own, { task: 'repot' })
  await claim(own, stuck, dead)
  await world.direct.query(`update lockstep.runs set not_before = now() - interval '2 min'`)
  await world.direct.query(
    `update lockstep.nodes set lease_until = now() - interval '2 min' where node = $1`,
    [dead],
  )
  // The first look tells of tasks that the second node has not declared by then.
  for (const node of [...nodes, ...nodes]) await node.look()
  const told = logger.lines.filter(({ level }) => level === 'error').map(({ message }) => message)
  const words =
    'LS_TASK_UNKNOWN 2 runs belong to task "repot", which no node declares (declared: answer, import, report). They wait. Deploy it again.'
  expect(told.at(-1)).toBe(words)
  expect(told.filter((text) => text.includes('"answer"'))).toHaveLength(1)
  expect(told.slice(2)).toEqual([words, words])
  // A node that has gone for good declares nothing any more.
  await world.direct.query(
    `update lockstep.tasks set declared_at = now() - interval '2 min' where name = 'answer'`,
  )
  await nodes[0]?.look()
  expect(logger.lines.at(-2)?.message).toContain('1 run belongs to task "answer"')
})

test('a node that gives no answer to a claim in time holds up no other run', async () => {
  const run = await addRun(own)
  const gate = await world.direct.connect()
  await gate.query('begin')
  await gate.query('select pg_advisory_xact_lock_shared(lockstep.run_gate($1))', [run])
  let ran = 0
  const starter = await createWorld({ databaseUrl: world.url, bus: false, runs: { concurrency: 1 } })
  const { z } = await import('zod')
  const task = starter.lockstep.task('import', {
    input: z.object({}).loose(),
    run: async () => void (ran += 1),
  })
  const other = await task.start({}, { user: 'ada' })
  expect(await task.ended(other)).toMatchObject({ state: 'completed' })
  expect(ran).toBe(1)
  await gate.query('commit')
  gate.release()
  expect(await task.ended(run)).toMatchObject({ state: 'completed' })
  await starter.close()
})

// Runs in all that a node may stand in: PGlite, `onBegin`, each rollout mode, a history that changes, a node that stops, and nodes
// that die again and again.
import { PGlite } from '@electric-sql/pglite'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { createLockstep, fromPglite, fromPool, silentLogger } from '../../../src/index.ts'
import type { Queryable } from '../../../src/core/index.ts'
import { promote } from '../../support/histories.ts'
import { addNode, addRun, rowOf } from '../../support/run-rows.ts'
import { expectStates, statesOf, stepsOf } from '../../support/runs.ts'
import { createWorld, room, type World } from '../../support/world.ts'

const input = z.object({})
const ada = { user: 'ada' }

it('on PGlite a run goes to its end, with its steps, and a stop of another', async () => {
  const pglite = await PGlite.create()
  await pglite.exec('create table notes (id text primary key)')
  const lockstep = createLockstep({ database: fromPglite(pglite), logger: silentLogger })
  let begin = (): void => {}
  const begun = new Promise<void>((resolve) => (begin = resolve))
  const task = lockstep.task('write', {
    input: z.object({ waits: z.boolean() }),
    async run({ input: { waits }, step, runId, signal }) {
      await step.do('save', {
        work: async () => 'x',
        commit: async (tx) => void (await tx.db.query('insert into notes values ($1)', [runId])),
      })
      if (waits) begin()
      if (waits)
        await step.do('wait', () => new Promise((resolve) => signal.addEventListener('abort', resolve)))
      return 'done'
    },
  })
  const run = await task.start({ waits: false }, ada)
  expect(await task.ended(run)).toEqual({ state: 'completed', result: 'done' })
  const other = await task.start({ waits: true }, ada)
  await begun
  await task.stop(other)
  expect(await task.ended(other)).toEqual({ state: 'cancelled' })
  const { rows } = await pglite.query('select id from notes')
  expect(rows).toHaveLength(2)
  await lockstep.close()
  await pglite.close()
})

it('onBegin runs first in the start and in each step, with the user of the run', async () => {
  const seen: string[] = []
  const world = await createWorld({
    bus: false,
    onBegin: async ({ user }: { readonly user: { readonly id: string } }) => void seen.push(user.id),
  })
  const task = world.lockstep.task('twice', {
    input,
    async run({ step }) {
      await step.commit('one', async () => {})
      await step.commit('two', async () => {})
    },
  })
  const run = await task.start({}, ada)
  await task.ended(run)
  expect(seen).toEqual(['ada', 'ada', 'ada'])
  await world.close()
})

it.each(['observe', 'off', 'enforce'] as const)(
  'in the mode %s of its task a run has its states and its steps, and its events leave as the mode says',
  async (mode) => {
    const world = await createWorld({ bus: false, rollout: { operations: { moded: mode } } })
    const modes: string[] = []
    let commits = 0
    const task = world.lockstep.task('moded', {
      input,
      channel: () => room({ id: 'a' }),
      retry: { attempts: 2, backoffMs: 0 },
      async run({ step, channel }) {
        await step.commit('emit', async (tx) => {
          modes.push(tx.mode)
          tx.emit(channel, 'counted', { n: 1 })
          commits += 1
          if (commits === 1) throw new Error('once more')
        })
      },
    })
    const run = await task.start({}, ada)
    expect(await task.ended(run)).toMatchObject({ state: 'completed' })
    expect(modes).toEqual([mode, mode])
    await expectStates(world, run.id, 'room:a')
    expect(await stepsOf(world, run.id)).toEqual(['emit'])
    const types = (await world.eventsOf('room:a'))
      .map(({ type }) => type)
      .filter((type) => type !== 'run.state')
    // The head moves all the same, by an entry that no client is shown.
    expect(types).toEqual([mode === 'enforce' ? 'counted' : 'lockstep.touched'])
    // A try that failed is told to nobody.
    expect(await world.eventsOf('user:ada')).toEqual([])
    await world.close()
  },
)

describe('nodes', () => {
  let world: World
  let own: Queryable
  beforeEach(async () => {
    world = await createWorld({ bus: false })
    own = fromPool(world.direct).own
  })
  afterEach(() => world.close())

  it('a change of the history ends all attempts, and the run goes on under its next one', async () => {
    let begin = (): void => {}
    const begun = new Promise<void>((resolve) => (begin = resolve))
    const attempts: number[] = []
    const reasons: unknown[] = []
    const task = world.lockstep.task('spans', {
      input,
      async run({ step }) {
        await step.commit('first', async () => {})
        return step.do('second', async ({ attempt, signal }) => {
          attempts.push(attempt)
          if (attempts.length > 1) return attempt
          begin()
          await new Promise((resolve) => signal.addEventListener('abort', resolve))
          reasons.push((signal.reason as { readonly code: string }).code)
          return 'of the history before'
        })
      },
    })
    const run = await task.start({}, ada)
    await begun
    await promote(world.direct)
    expect(await task.ended(run)).toEqual({ state: 'completed', result: 2 })
    expect(attempts).toEqual([1, 2])
    expect(reasons).toEqual(['LS_RUN_LOST'])
    expect(await stepsOf(world, run.id)).toEqual(['first', 'second'])
  })

  it('a node that stops hands its runs over at once: no death is counted, and steps that commit may end', async () => {
    const leaving = await createWorld({ databaseUrl: world.url, bus: false })
    let begin = (): void => {}
    const begun = new Promise<void>((resolve) => (begin = resolve))
    const declare = ({ lockstep }: World, name: string) =>
      lockstep.task('handed', {
        input,
        async run({ step }) {
          await step.commit('first', async () => {})
          return step.do('second', async ({ signal }) => {
            if (name === 'staying') return name
            begin()
            await new Promise((resolve) => signal.addEventListener('abort', resolve))
            return name
          })
        },
      })
    const task = declare(leaving, 'leaving')
    const run = await task.start({}, ada)
    await begun
    const since = performance.now()
    await leaving.lockstep.close({ drainMs: 5_000 })
    const ended = declare(world, 'staying').ended(run.id)
    expect(await ended).toEqual({ state: 'completed', result: 'staying' })
    // A hand-over waits neither for the time to drain nor for the lease.
    expect(performance.now() - since).toBeLessThan(3_000)
    expect(await rowOf(own, run.id)).toMatchObject({ attempt: 2, deaths: 0 })
    expect(await statesOf(world, run.id, 'user:ada')).toEqual([
      'pending',
      'starting',
      'running',
      'pending',
      'starting',
      'running',
      'completing',
      'completed',
    ])
    await leaving.close()
  })

  it('a run whose nodes die again and again rests for longer each time, and is given up after five', async () => {
    const pauses: number[] = []
    const task = world.lockstep.task('deadly', { input, run: () => new Promise<never>(() => {}) })
    const id = await addRun(own, { task: 'deadly' })
    for (let deaths = 1; deaths <= 6; deaths++) {
      const dead = await addNode(own)
      // The row says that a dead node has it, whoever has it now.
      await world.direct.query(`update lockstep.nodes set lease_until = '-infinity' where node = $1`, [dead])
      await world.direct.query(
        `update lockstep.runs set state = 'running', node = $2, attempt = attempt + 1, deaths = $3 where id = $1`,
        [id, dead, deaths - 1],
      )
      await expect.poll(async () => (await rowOf(own, id)).deaths, { timeout: 5_000 }).toBe(deaths)
      const text = `select coalesce(extract(epoch from not_before - clock_timestamp()), 0)::float8 as s, state
        from lockstep.runs where id = $1`
      const [row] = await world.rows<{ s: number; state: string }>(text, [id])
      if (row?.state === 'pending') pauses.push(2 ** Math.ceil(Math.log2(row.s)))
    }
    expect(pauses).toEqual([1, 2, 4, 8])
    expect(await task.ended(id)).toMatchObject({
      state: 'dead',
      notice: { errorCode: 'LS_RUN_DEAD', runId: id },
    })
  })
})

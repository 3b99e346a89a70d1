// A commit that hangs: whatever ends its run interrupts its transaction at once.
import { afterEach, beforeEach, expect, it } from 'vitest'
import { z } from 'zod'
import { stepsOf } from '../../support/runs.ts'
import { createWorld, type World } from '../../support/world.ts'

let world: World
beforeEach(async () => {
  world = await createWorld({ bus: false })
})
afterEach(() => world.close())

const input = z.object({})
const ada = { user: 'ada' }
/** Far less than the 30 s after which a transaction is ended, and the 10 s that work which ignores a stop has. */
const atOnceMs = 4_000

/** Transactions that the task's commit has open. */
const openTransactions = () =>
  world.rows<{ state: string }>(
    `select state from pg_stat_activity where datname = current_database() and query like '%pg_sleep(60)%'
     and pid <> pg_backend_pid() and state <> 'idle'`,
  )

interface Hang {
  readonly begun: Promise<void>
  readonly stops: boolean[]
  readonly commit: (
    tx: { readonly db: { query(text: string): Promise<unknown> } },
    stopped: boolean,
  ) => Promise<void>
}

/** A commit that hangs in a statement, until it is told of a stop. */
function createHang(): Hang {
  let begin = (): void => {}
  const begun = new Promise<void>((resolve) => (begin = resolve))
  const stops: boolean[] = []
  return {
    begun,
    stops,
    async commit(tx, stopped) {
      stops.push(stopped)
      begin()
      if (!stopped) await tx.db.query('select pg_sleep(60)')
    },
  }
}

it('a stop interrupts a commit that was not given it, which then commits what the work had', async () => {
  const hang = createHang()
  const task = world.lockstep.task('streams', {
    input,
    run: ({ step }) =>
      step.do('stream', {
        work: async () => 'text',
        commit: (tx, _, { stopped }) => hang.commit(tx, stopped),
      }),
  })
  const run = await task.start({}, ada)
  await hang.begun
  const since = performance.now()
  await task.stop(run)
  expect(await task.ended(run)).toEqual({ state: 'cancelled' })
  expect(performance.now() - since).toBeLessThan(atOnceMs)
  expect(hang.stops).toEqual([false, true])
  expect(await stepsOf(world, run.id)).toEqual(['stream'])
  await expect.poll(openTransactions).toEqual([])
})

it('a stop interrupts a commit without work, and nothing of it stands', async () => {
  const hang = createHang()
  const task = world.lockstep.task('counts', {
    input,
    run: ({ step }) => step.commit('count', (tx) => hang.commit(tx, false)),
  })
  const run = await task.start({}, ada)
  await hang.begun
  const since = performance.now()
  await task.stop(run)
  expect(await task.ended(run)).toEqual({ state: 'cancelled' })
  expect(performance.now() - since).toBeLessThan(atOnceMs)
  expect(hang.stops).toHaveLength(1)
  await expect.poll(openTransactions).toEqual([])
})

it('the end of the time of a run interrupts its commit', async () => {
  const hang = createHang()
  const task = world.lockstep.task('slow', {
    input,
    timeoutMs: 400,
    run: ({ step }) => step.commit('count', (tx) => hang.commit(tx, false)),
  })
  const run = await task.start({}, ada)
  const since = performance.now()
  expect(await task.ended(run)).toMatchObject({ state: 'timeout' })
  expect(performance.now() - since).toBeLessThan(atOnceMs)
  await expect.poll(openTransactions).toEqual([])
})

it('the loss of a run interrupts its commit', async () => {
  const hang = createHang()
  let attempts = 0
  const task = world.lockstep.task('lost', {
    input,
    run: ({ step }) =>
      step.commit('count', async (tx) => {
        attempts += 1
        if (attempts === 1) await hang.commit(tx, false)
      }),
  })
  const run = await task.start({}, ada)
  await hang.begun
  const since = performance.now()
  // Another node had it, and gives it back.
  await world.rows(
    `update lockstep.runs set state = 'pending', node = null, attempt = attempt + 1, not_before = now() where id = $1`,
    [run.id],
  )
  expect(await task.ended(run)).toMatchObject({ state: 'completed' })
  expect(performance.now() - since).toBeLessThan(atOnceMs)
  expect(attempts).toBe(2)
  await expect.poll(openTransactions).toEqual([])
})

it('a commit that takes longer than the step allows counts as one that threw', async () => {
  const hang = createHang()
  const task = world.lockstep.task('bounded', {
    input,
    retry: { attempts: 2, backoffMs: 0 },
    run: ({ step }) =>
      step.do('charge', { timeoutMs: 300, work: async () => 1, commit: (tx) => hang.commit(tx, false) }),
  })
  const run = await task.start({}, ada)
  expect(await task.ended(run)).toMatchObject({ state: 'failed', notice: { errorCode: 'LS_STEP_TIMEOUT' } })
  expect(hang.stops).toHaveLength(2)
  const failed = world.logger.lines.find((line) => line.message === 'a run failed')
  const { message } = (failed?.fields ?? {})['error'] as Error
  expect(message).toContain('Step "charge" (task "bounded") had not committed after 300 ms')
  await expect.poll(openTransactions).toEqual([])
})

it('whoever waits for the end of a run can give up', async () => {
  const task = world.lockstep.task('waits', { input, run: async () => 'x' })
  const run = await task.start({}, { ...ada, startAt: new Date(Date.now() + 60_000) })
  const reason = new Error('enough')
  await expect(task.ended(run, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
  const controller = new AbortController()
  const [patient, hasty] = [task.ended(run), task.ended(run, { signal: controller.signal })]
  controller.abort(reason)
  await expect(hasty).rejects.toBe(reason)
  await expect(task.ended(run, { signal: AbortSignal.timeout(50) })).rejects.toMatchObject({
    name: 'TimeoutError',
  })
  // @ts-expect-error no signal
  await expect(task.ended(run, { signal: 5 })).rejects.toMatchObject({ code: 'LS_CONFIG_INVALID' })
  await task.stop(run)
  expect(await patient).toEqual({ state: 'cancelled' })
})

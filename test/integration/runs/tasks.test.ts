// Tasks on a real Postgres: a run begins with the commit that starts it, each step commits once, and the run ends with its
// event and its notice.
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { newOperationId } from '../../../src/index.ts'
import { expectStates, statesOf, stepsOf } from '../../support/runs.ts'
import { createWorld, room, type World } from '../../support/world.ts'

let world: World
beforeEach(async () => {
  world = await createWorld({ bus: false })
})
afterEach(() => world.close())

const input = z.object({ text: z.string() })
const ada = { user: 'ada' }

describe('a run', () => {
  it('goes through its states, commits its steps once each, and has its result', async () => {
    const task = world.lockstep.task('write', {
      input,
      channel: () => room({ id: 'a' }),
      async run({ input: { text }, step, channel, runId }) {
        const length = await step.do('count', async () => text.length)
        const saved = await step.do('save', {
          work: async () => ({ at: new Date(0), length }),
          async commit(tx, value, { stopped, attempt }) {
            await tx.db.query('insert into notes values ($1, $2)', [runId, text])
            tx.emit(channel, 'counted', { n: value.length })
            return { at: value.at, stopped, attempt }
          },
        })
        await step.commit(['touch', 1], async (tx) => {
          tx.emit(channel, 'counted', { n: 100 })
        })
        return { saved, length }
      },
    })
    const run = await task.start({ text: 'four' }, ada)
    expect(run).toEqual({ id: run.id, task: 'write' })
    expect(await task.ended(run)).toEqual({
      state: 'completed',
      result: { saved: { at: '1970-01-01T00:00:00.000Z', stopped: false, attempt: 1 }, length: 4 },
    })
    expect(await statesOf(world, run.id, 'room:a')).toEqual([
      'pending',
      'starting',
      'running',
      'completing',
      'completed',
    ])
    await expectStates(world, run.id, 'room:a')
    expect(await stepsOf(world, run.id)).toEqual(['count', 'save', '["touch",1]'])
    const counted = (await world.eventsOf('room:a')).filter(({ type }) => type === 'counted')
    expect(counted.map(({ data }) => data)).toEqual([{ n: 4 }, { n: 100 }])
    expect(await world.rows('select id from notes')).toEqual([{ id: run.id }])
  })

  it('shows its state on the channel of its user unless its task says where', async () => {
    const task = world.lockstep.task('plain', { input, run: async () => {} })
    const run = await task.start({ text: 'x' }, ada)
    expect(await task.ended(run)).toEqual({ state: 'completed', result: undefined })
    const [first] = await world.eventsOf('user:ada')
    expect(first).toMatchObject({
      type: 'run.state',
      data: { runId: run.id, task: 'plain', state: 'pending', phase: 'queued', attempt: 0, startedBy: 'ada' },
    })
    await expectStates(world, run.id, 'user:ada')
  })

  it('is one for one id, however often it is started', async () => {
    let began = 0
    const task = world.lockstep.task('once', {
      input,
      async run({ step }) {
        await step.do('begin', async () => void (began += 1))
      },
    })
    const id = newOperationId()
    const starts = await Promise.all([1, 2, 3].map(() => task.start({ text: 'x' }, { ...ada, id })))
    expect(new Set(starts.map((run) => run.id))).toEqual(new Set([id]))
    await task.ended(id)
    expect(began).toBe(1)
    await expect(task.start({ text: 'x' }, { user: 'bob', id })).rejects.toMatchObject({
      code: 'LS_OPERATION_ID_REUSED',
    })
  })

  it('that an operation starts begins if the operation commits, and never if it does not', async () => {
    const task = world.lockstep.task('inner', { input, run: async ({ input: { text } }) => text })
    let never = ''
    const failed = world.lockstep.transaction({ name: 'both', ...ada }, async (tx) => {
      never = tx.start(task, { text: 'never' }).id
      throw new Error('not this')
    })
    await expect(failed).rejects.toThrow('not this')
    const [one, two] = await world.lockstep.transaction({ name: 'both', ...ada }, async (tx) => {
      await tx
        .transaction(async (inner) => {
          inner.start(task, { text: 'undone' })
          throw new Error('back')
        })
        .catch(() => {})
      return [tx.start(task, { text: 'one' }), tx.start(task, { text: 'two' })] as const
    })
    expect(await task.ended(one)).toEqual({ state: 'completed', result: 'one' })
    expect(await task.ended(two)).toEqual({ state: 'completed', result: 'two' })
    await expect(task.ended(never)).rejects.toMatchObject({ code: 'LS_RUN_UNKNOWN' })
    expect(await world.rows('select count(*)::int as n from lockstep.runs')).toEqual([{ n: 2 }])
  })

  it('does not begin before its time', async () => {
    const task = world.lockstep.task('later', { input, run: async () => 'done' })
    const since = Date.now()
    const run = await task.start({ text: 'x' }, { ...ada, startAt: new Date(since + 700) })
    await task.ended(run)
    expect(Date.now() - since).toBeGreaterThanOrEqual(700)
  })

  it('is left to other nodes by one that takes none', async () => {
    const starter = await createWorld({ databaseUrl: world.url, bus: false, runs: { concurrency: 0 } })
    const options = { input, run: async () => 'by the other' }
    const task = starter.lockstep.task('given', options)
    const run = await task.start({ text: 'x' }, ada)
    const ended = task.ended(run)
    expect(await world.rows('select state from lockstep.runs')).toEqual([{ state: 'pending' }])
    world.lockstep.task('given', options)
    expect(await ended).toEqual({ state: 'completed', result: 'by the other' })
    await starter.close()
  })
})

describe('a step that throws', () => {
  it('is tried again from its work, and the run goes on under its next attempt', async () => {
    const seen: unknown[] = []
    const task = world.lockstep.task('flaky', {
      input,
      retry: { attempts: 3, backoffMs: 10 },
      async run({ step }) {
        await step.do('before', async () => void seen.push('before'))
        return step.do('flaky', {
          async work({ attempt, idempotencyKey }) {
            seen.push({ attempt, idempotencyKey })
            return attempt
          },
          async commit(tx, value) {
            await tx.db.query(`insert into notes values ('n', 'x')`)
            if (value < 3) throw new Error('not yet')
            return value
          },
        })
      },
    })
    const run = await task.start({ text: 'x' }, ada)
    expect(await task.ended(run)).toEqual({ state: 'completed', result: 3 })
    const [, first] = seen as { readonly idempotencyKey: string }[]
    const key = first?.idempotencyKey
    expect(seen).toEqual(['before', ...[1, 2, 3].map((attempt) => ({ attempt, idempotencyKey: key }))])
    expect(await world.rows('select count(*)::int as n from notes')).toEqual([{ n: 1 }])
    await expectStates(world, run.id, 'user:ada')
    // A try that is repeated is told to nobody.
    const types = (await world.eventsOf('user:ada')).map(({ type }) => type)
    expect(types).not.toContain('transaction_rolled_back')
  })

  it('for the last time ends the run, with one notice in the words of its task', async () => {
    const task = world.lockstep.task('fails', {
      input,
      retry: { attempts: 2, backoffMs: 10 },
      failure: { userMessage: 'The report was not written.', recoveryActions: ['ask_again'] },
      async run({ step }) {
        await step.commit('save', async () => {
          throw new Error('secret detail')
        })
      },
    })
    const run = await task.start({ text: 'x' }, ada)
    const end = await task.ended(run)
    const notice = {
      transactionId: run.id,
      runId: run.id,
      failedOperation: 'fails',
      errorCode: 'LS_RUN_FAILED',
      errorMessage: 'The work failed.',
      userMessage: 'The report was not written.',
      recoveryActions: ['ask_again'],
      affectedLayers: ['database', 'websocket', 'agent'],
    }
    expect(end).toEqual({ state: 'failed', notice })
    const events = await world.eventsOf('user:ada')
    expect(events.filter(({ type }) => type === 'transaction_rolled_back').map(({ data }) => data)).toEqual([
      notice,
    ])
    expect(events.at(-2)).toMatchObject({
      type: 'run.state',
      data: { state: 'failed', code: 'LS_RUN_FAILED' },
    })
    expect(world.logger.lines).toContainEqual(
      expect.objectContaining({ level: 'error', message: 'a run failed' }),
    )
    await expectStates(world, run.id, 'user:ada')
  })

  it('throws to the code of its task, which may do without it', async () => {
    const task = world.lockstep.task('copes', {
      input,
      retry: { attempts: 1 },
      async run({ step }) {
        try {
          await step.do('first', async () => {
            throw new Error('no')
          })
        } catch {
          return step.do('second', async () => 'instead')
        }
        return 'first'
      },
    })
    const run = await task.start({ text: 'x' }, ada)
    expect(await task.ended(run)).toEqual({ state: 'completed', result: 'instead' })
  })

  it('by a conflict has its commit repeated alone, with the same value', async () => {
    let [works, commits] = [0, 0]
    const task = world.lockstep.task('conflicts', {
      input,
      async run({ step }) {
        return step.do('save', {
          async work() {
            works += 1
            return { n: works }
          },
          async commit(tx, value) {
            commits += 1
            if (commits < 8)
              await tx.db.query(`do $$ begin raise exception 'again' using errcode = '40001'; end $$`)
            return value.n
          },
        })
      },
    })
    const run = await task.start({ text: 'x' }, ada)
    expect(await task.ended(run)).toEqual({ state: 'completed', result: 1 })
    expect({ works, commits }).toEqual({ works: 1, commits: 8 })
  })

  it('with a text that Postgres cannot hold ends the run', async () => {
    const task = world.lockstep.task('garbled', {
      input,
      retry: { attempts: 1 },
      run: ({ step }) =>
        step.do('read', async () => {
          throw new Error('bad \0 input')
        }),
    })
    const run = await task.start({ text: 'x' }, ada)
    expect(await task.ended(run)).toMatchObject({ state: 'failed', notice: { errorCode: 'LS_RUN_FAILED' } })
  })

  it('by its time limit counts as one that threw', async () => {
    const task = world.lockstep.task('slow', {
      input,
      retry: { attempts: 1 },
      run: ({ step }) =>
        step.do('wait', { timeoutMs: 50, work: () => new Promise<never>(() => {}), commit: async () => 'x' }),
    })
    const run = await task.start({ text: 'x' }, ada)
    expect(await task.ended(run)).toMatchObject({ state: 'failed', notice: { errorCode: 'LS_STEP_TIMEOUT' } })
  })
})

describe('a stop', () => {
  it('cancels a run that waits, at once', async () => {
    const task = world.lockstep.task('waits', { input, run: async () => 'x' })
    const run = await task.start({ text: 'x' }, { ...ada, startAt: new Date(Date.now() + 60_000) })
    await task.stop(run)
    expect(await task.ended(run)).toEqual({ state: 'cancelled' })
    await task.stop(run)
    expect(await statesOf(world, run.id, 'user:ada')).toEqual(['pending', 'cancelled'])
  })

  it.each([
    ['keep', ['stopped early']],
    ['discard', []],
  ] as const)('commits what the work had, where the task says so: %s', async (onStop, kept) => {
    let began = (): void => {}
    const begun = new Promise<void>((resolve) => (began = resolve))
    let after = 0
    const task = world.lockstep.task('streams', {
      input,
      onStop,
      async run({ step, runId }) {
        await step.do('stream', {
          async work({ signal }) {
            began()
            await new Promise((resolve) => signal.addEventListener('abort', resolve))
            return 'early'
          },
          async commit(tx, text, { stopped }) {
            await tx.db.query('insert into notes values ($1, $2)', [
              runId,
              `${stopped ? 'stopped ' : ''}${text}`,
            ])
          },
        })
        await step.do('after', async () => void (after += 1))
      },
    })
    const run = await task.start({ text: 'x' }, ada)
    await begun
    await task.stop(run)
    expect(await task.ended(run)).toEqual({ state: 'cancelled' })
    expect((await world.rows<{ text: string }>('select text from notes')).map(({ text }) => text)).toEqual(
      kept,
    )
    expect(after).toBe(0)
    await expectStates(world, run.id, 'user:ada')
  })

  it('that the code of a commit throws again ends the run at once', async () => {
    let began = (): void => {}
    const begun = new Promise<void>((resolve) => (began = resolve))
    let commits = 0
    const task = world.lockstep.task('heeds', {
      input,
      run: ({ step, signal }) =>
        step.do('stream', {
          async work() {
            began()
            await new Promise((resolve) => signal.addEventListener('abort', resolve))
            return 'early'
          },
          async commit() {
            commits += 1
            signal.throwIfAborted()
          },
        }),
    })
    const run = await task.start({ text: 'x' }, ada)
    await begun
    await task.stop(run)
    expect(await task.ended(run)).toEqual({ state: 'cancelled' })
    expect(commits).toBe(1)
  })

  it('that another node acknowledged reaches the node of the run', async () => {
    const other = await createWorld({ databaseUrl: world.url, bus: false, runs: { concurrency: 0 } })
    let began = (): void => {}
    const begun = new Promise<void>((resolve) => (began = resolve))
    const options = {
      input,
      async run({
        step,
      }: {
        readonly step: {
          do(name: string, work: (context: { readonly signal: AbortSignal }) => Promise<void>): Promise<void>
        }
      }) {
        await step.do('stream', async ({ signal }) => {
          began()
          await new Promise((resolve) => signal.addEventListener('abort', resolve))
          signal.throwIfAborted()
        })
      },
    }
    const task = world.lockstep.task('far', options)
    const run = await task.start({ text: 'x' }, ada)
    await begun
    await other.lockstep.task('far', options).stop(run)
    expect(await task.ended(run)).toEqual({ state: 'cancelled' })
    expect(await stepsOf(world, run.id)).toEqual([])
    await other.close()
  })

  it('of a run that there is not is refused', async () => {
    const task = world.lockstep.task('mine', { input, run: async () => {} })
    const other = world.lockstep.task('other', { input, run: async () => {} })
    const unknown = { code: 'LS_RUN_UNKNOWN' }
    await expect(task.stop(newOperationId())).rejects.toMatchObject(unknown)
    await expect(task.stop('nonsense')).rejects.toMatchObject(unknown)
    const run = await task.start({ text: 'x' }, ada)
    await expect(task.stop({ id: run.id, task: 'other' })).rejects.toMatchObject(unknown)
    await task.ended(run)
    await expect(other.ended(run.id)).rejects.toMatchObject(unknown)
  })
})

describe('time of a run', () => {
  it('that is over ends it as timeout, with a notice', async () => {
    const task = world.lockstep.task('long', {
      input,
      timeoutMs: 300,
      run: ({ step }) => step.do('wait', () => new Promise<never>(() => {})),
    })
    const run = await task.start({ text: 'x' }, ada)
    expect(await task.ended(run)).toMatchObject({ state: 'timeout', notice: { errorCode: 'LS_RUN_TIMEOUT' } })
    await expectStates(world, run.id, 'user:ada')
  })
})

describe('progress', () => {
  it('is kept with the run', async () => {
    const task = world.lockstep.task('counts', {
      input,
      progress: z.object({ done: z.number() }),
      async run({ step }) {
        for (let done = 1; done <= 20; done++) step.progress({ done })
        await step.do('x', async () => {
          step.progress({ done: 21 })
        })
        // @ts-expect-error a progress that the schema has not
        expect(() => step.progress({ do: 1 })).toThrow(expect.objectContaining({ code: 'LS_EVENT_INVALID' }))
      },
    })
    const run = await task.start({ text: 'x' }, ada)
    await task.ended(run)
    await expect
      .poll(() => world.rows('select value from lockstep.run_progress where run = $1', [run.id]))
      .toEqual([{ value: { done: 21 } }])
  })
})

// Runs as clients of another language see them: an unmodified `centrifuge` client starts, stops and looks at runs on a real
// node, and those who may not are told nothing.
import type { Centrifuge } from 'centrifuge'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { newOperationId, refuse } from '../../../src/index.ts'
import type { OngoingRun, Outcome, RunReport } from '../../../src/protocol/index.ts'
import { statesOf, stepsOf } from '../../support/runs.ts'
import { centrifuge, connected, listen, serve, type Served } from '../../support/sockets.ts'
import { createWorld, room, type World } from '../../support/world.ts'
import { eventually } from '../../support/eventually.ts'

const input = z.object({ room: z.string(), text: z.string().default('x') })
const refusals = { closed: z.object({ until: z.string() }) }

function declareTasks({ lockstep }: Pick<World, 'lockstep'>) {
  const channel = ({ input: { room: id } }: { readonly input: { readonly room: string } }) => room({ id })
  /** Works until it is stopped, or until `release` lets its run go. */
  const released = new Map<string, () => void>()
  const wait = lockstep.task('wait', {
    input,
    channel,
    authorize: ({ input: { room: id } }) => {
      if (id === 'closed')
        throw refuse('closed', { userMessage: 'Closed until noon.', data: { until: '12:00' } })
      return id !== 'forbidden'
    },
    refusals,
    failure: { userMessage: 'It could not be done.' },
    progress: z.object({ done: z.number() }),
    async run({ input: { text }, step, runId, refuse: refuseBy }) {
      step.progress({ done: 1 })
      await step.commit('first', async () => text)
      await step.do('wait', {
        work: ({ signal }) =>
          new Promise<string>((resolve) => {
            released.set(runId, () => resolve('released'))
            signal.addEventListener('abort', () => resolve('stopped'))
          }),
        commit: async (_, value) => value,
      })
      if (text === 'refuse') throw refuseBy('closed', { userMessage: 'Too late.', data: { until: '13:00' } })
      return { text }
    },
  })
  const controlled = lockstep.task('controlled', {
    input,
    channel,
    canControl: ({ user, startedBy, action, input: { text } }) =>
      user.id === 'boss' && startedBy === 'ada' && action === 'stop' && text === 'x',
    async run({ step }) {
      await step.do(
        'wait',
        ({ signal }) => new Promise((end) => signal.addEventListener('abort', () => end(1))),
      )
    },
  })
  return {
    wait,
    controlled,
    release: (run: string) =>
      eventually(() => {
        const end = released.get(run)
        if (end === undefined) throw new Error('its work has not begun')
        end()
      }),
  }
}

let world: World
let served: Served
let tasks: ReturnType<typeof declareTasks>
const clients = new Map<string, Centrifuge>()
beforeAll(async () => {
  world = await createWorld({ bus: false })
  tasks = declareTasks(world)
  served = await serve(world)
  for (const user of ['ada', 'bob', 'boss', 'owner'])
    clients.set(user, await connected(centrifuge(served.url, user)))
})
afterAll(async () => {
  for (const client of clients.values()) client.disconnect()
  await world.close()
  await served.close()
})

const as = (user: string): Centrifuge => {
  const client = clients.get(user)
  if (client === undefined) throw new Error(`no client of ${user}`)
  return client
}
const rpc = async <T = unknown>(user: string, method: string, data: unknown): Promise<T> =>
  (await as(user).rpc(method, data)).data as T
const startOf = async (data: object = {}, user = 'ada') => {
  const id = newOperationId()
  const outcome = await rpc<Outcome>(user, 'wait', { id, input: { room: 'a', ...data } })
  return { id, outcome }
}
const stop = (user: string, runId: string, id = newOperationId()) =>
  rpc<Outcome<{ state: string; phase: string }>>(user, 'lockstep.runs.stop', { id, runId })
const untilRunning = (run: string, channel = 'room:a') =>
  eventually(async () => expect(await statesOf(world, run, channel)).toContain('running'))

describe('a start over the wire', () => {
  it('is an operation that has the id of its run, and its result is the ref', async () => {
    const { inbox, subscription } = await listen(as('bob'), 'room:a')
    const { id, outcome } = await startOf()
    expect(outcome).toMatchObject({
      outcome: 'committed',
      operationId: id,
      result: { id, task: 'wait' },
      positions: { 'room:a': { offset: expect.any(Number) } },
    })
    await tasks.release(id)
    expect(await tasks.wait.ended(id)).toEqual({ state: 'completed', result: { text: 'x' } })
    await inbox.until((items) => items.some(({ data }) => data.data.state === 'completed'))
    subscription.unsubscribe()
    as('bob').removeSubscription(subscription)
    const states = inbox.items.filter(({ data }) => data.type === 'run.state' && data.data.runId === id)
    expect(states.map(({ data }) => data.data.phase)).toEqual([
      'queued',
      'active',
      'active',
      'active',
      'completed',
    ])
    expect(states[0]?.data.data).toMatchObject({ task: 'wait', startedBy: 'ada', attempt: 0 })
  })

  it('starts one run for one id, and a lost reply is answered by its outcome', async () => {
    const { id } = await startOf()
    const again = await rpc<Outcome>('ada', 'wait', { id, input: { room: 'a' }, repeat: true })
    expect(again).toMatchObject({ outcome: 'committed', result: { id, task: 'wait' } })
    const { outcomes } = await rpc<{ outcomes: unknown[] }>('ada', 'lockstep.outcomes', { ids: [id] })
    expect(outcomes).toMatchObject([{ outcome: 'committed', result: { id, task: 'wait' } }])
    await expect(rpc('ada', 'wait', { id, input: { room: 'b' } })).rejects.toMatchObject({ code: 402 })
    expect(await world.rows('select id from lockstep.runs where id = $1', [id])).toHaveLength(1)
    await stop('ada', id)
  })

  it('asks authorize, also where the server starts it', async () => {
    await expect(startOf({ room: 'forbidden' })).rejects.toMatchObject({ code: 403 })
    await expect(startOf({ room: 1 })).rejects.toMatchObject({
      code: 400,
      message: expect.stringContaining('room'),
    })
    const start = tasks.wait.start({ room: 'forbidden' }, { user: 'ada' })
    await expect(start).rejects.toMatchObject({ code: 'LS_FORBIDDEN' })
    expect(await world.rows(`select id from lockstep.runs where channel = 'room:forbidden'`)).toEqual([])
  })

  it('of a task without authorize, or of none, says what is wrong', async () => {
    const id = newOperationId()
    await expect(rpc('ada', 'controlled', { id, input: { room: 'a' } })).rejects.toMatchObject({
      code: 403,
      message:
        'LS_TASK_INTERNAL: Task "controlled" is started by the server only. To let clients start it, give it authorize.',
    })
    await expect(rpc('ada', 'wiat', { id, input: {} })).rejects.toMatchObject({
      code: 104,
      message: expect.stringContaining('Did you mean "wait"?'),
    })
    // A task that clients cannot start is no suggestion.
    await expect(rpc('ada', 'controled', { id, input: {} })).rejects.toMatchObject({
      message: expect.not.stringContaining('controlled'),
    })
  })

  it('that authorize refuses is rolled back with the data of the refusal', async () => {
    const { outcome } = await startOf({ room: 'closed' })
    expect(outcome).toMatchObject({
      outcome: 'rolled_back',
      notice: {
        failedOperation: 'wait',
        userMessage: 'Closed until noon.',
        refusal: { code: 'closed', data: { until: '12:00' }, declared: true },
      },
    })
  })

  it('has a run that fails with the refusal of its task', async () => {
    const own: { type: string; data: Record<string, unknown> }[] = []
    const hear = ({ channel, data }: { channel: string; data: (typeof own)[number] }) => {
      if (channel === 'user:ada') own.push(data)
    }
    as('ada').on('publication', hear)
    const { id } = await startOf({ text: 'refuse' })
    await tasks.release(id)
    expect(await tasks.wait.ended(id)).toMatchObject({
      state: 'failed',
      refusal: { code: 'closed', data: { until: '13:00' } },
      notice: { runId: id, userMessage: 'Too late.', errorCode: 'LS_OPERATION_REFUSED' },
    })
    await eventually(() =>
      expect(own).toContainEqual(
        expect.objectContaining({
          type: 'transaction_rolled_back',
          data: expect.objectContaining({
            runId: id,
            refusal: { code: 'closed', data: { until: '13:00' }, declared: true },
          }),
        }),
      ),
    )
    as('ada').off('publication', hear)
  })
})

describe('a stop over the wire', () => {
  it('is an operation, answered by the state that it found', async () => {
    const { id } = await startOf()
    await untilRunning(id)
    const operation = newOperationId()
    const found = { runId: id, task: 'wait', state: 'running', phase: 'active' }
    expect(await stop('ada', id, operation)).toMatchObject({ outcome: 'committed', result: found })
    expect(await tasks.wait.ended(id)).toEqual({ state: 'cancelled' })
    // The value that its work had is kept.
    expect(await stepsOf(world, id)).toEqual(['first', 'wait'])
    expect(await stop('ada', id, operation)).toMatchObject({ outcome: 'committed', result: found })
    const { outcomes } = await rpc<{ outcomes: unknown[] }>('ada', 'lockstep.outcomes', { ids: [operation] })
    expect(outcomes).toMatchObject([{ outcome: 'committed', result: found }])
    expect(await stop('ada', id)).toMatchObject({ outcome: 'committed', result: { state: 'cancelled' } })
  })

  it('needs an id that is one', async () => {
    const call = { id: 'x', runId: newOperationId() }
    await expect(rpc('ada', 'lockstep.runs.stop', call)).rejects.toMatchObject({
      code: 401,
      message: expect.stringContaining('LS_OPERATION_ID_INVALID'),
    })
  })

  it('cancels a run that has not begun, with its event', async () => {
    const run = await tasks.wait.start(
      { room: 'a' },
      { user: 'ada', startAt: new Date(Date.now() + 3_600_000) },
    )
    expect(await stop('ada', run.id)).toMatchObject({ result: { state: 'pending', phase: 'queued' } })
    expect(await tasks.wait.ended(run)).toEqual({ state: 'cancelled' })
    expect(await statesOf(world, run.id, 'room:a')).toEqual(['pending', 'cancelled'])
  })

  it('finds the end of a run that has ended, and changes nothing', async () => {
    const { id } = await startOf()
    await tasks.release(id)
    await tasks.wait.ended(id)
    const before = await world.rows('select * from lockstep.runs where id = $1', [id])
    expect(await stop('ada', id)).toMatchObject({ outcome: 'committed', result: { state: 'completed' } })
    expect(await world.rows('select * from lockstep.runs where id = $1', [id])).toEqual(before)
  })

  it('looks again where the run has begun meanwhile', async () => {
    const run = await tasks.wait.start(
      { room: 'a' },
      { user: 'ada', startAt: new Date(Date.now() + 3_600_000) },
    )
    // Holds the gate, so that the stop has seen a run that waits when another transaction lets it run.
    const blocker = await world.direct.connect()
    await blocker.query('begin')
    await blocker.query('select pg_advisory_xact_lock(lockstep.run_gate($1))', [run.id])
    const stopping = stop('ada', run.id)
    await eventually(async () =>
      expect(
        await world.rows(
          `select from pg_stat_activity where wait_event = 'advisory' and query like '%stop_run%'`,
        ),
      ).toHaveLength(1),
    )
    await blocker.query('update lockstep.runs set attempt = 7 where id = $1', [run.id])
    await blocker.query('commit')
    blocker.release()
    expect(await stopping).toMatchObject({ outcome: 'committed', result: { state: 'pending' } })
    const [last] = (await world.eventsOf('room:a')).slice(-1)
    expect(last?.data).toMatchObject({ runId: run.id, state: 'cancelled', attempt: 7 })
  })

  it('of another user stands where they may subscribe, unless the task says who may', async () => {
    const { id } = await startOf()
    expect(await stop('bob', id)).toMatchObject({ outcome: 'committed' })
    expect(await tasks.wait.ended(id)).toEqual({ state: 'cancelled' })

    const run = await tasks.controlled.start({ room: 'a' }, { user: 'ada' })
    await expect(stop('bob', run.id)).rejects.toMatchObject({
      code: 403,
      message: expect.stringContaining('LS_FORBIDDEN'),
    })
    expect(await stop('boss', run.id)).toMatchObject({ outcome: 'committed' })
    expect(await tasks.controlled.ended(run)).toEqual({ state: 'cancelled' })
  })

  it('shows nobody who may not look whether there is such a run', async () => {
    const run = await tasks.wait.start({ room: 'private' }, { user: 'owner' })
    await untilRunning(run.id, 'room:private')
    const nothing = { code: 107, message: 'LS_RUN_UNKNOWN: There is no such run.' }
    for (const runId of [run.id, newOperationId()]) {
      await expect(stop('bob', runId)).rejects.toMatchObject(nothing)
      await expect(rpc('bob', 'lockstep.runs.get', { runId })).rejects.toMatchObject(nothing)
    }
    await expect(rpc('bob', 'lockstep.runs.list', { channel: 'room:private' })).rejects.toMatchObject({
      code: 103,
    })
    await expect(
      rpc('bob', 'lockstep.runs.stop', { id: newOperationId(), runId: 'x' }),
    ).rejects.toMatchObject({ code: 400 })
    expect(await world.rows('select stop_requested_at from lockstep.runs where id = $1', [run.id])).toEqual([
      { stop_requested_at: null },
    ])
    // The user of a run may stop it, whatever channels that user may hear.
    const hidden = await tasks.wait.start({ room: 'private' }, { user: 'ada' })
    await expect(rpc('ada', 'lockstep.runs.get', { runId: hidden.id })).rejects.toMatchObject({ code: 403 })
    for (const [user, { id }] of [
      ['owner', run],
      ['ada', hidden],
    ] as const) {
      expect(await stop(user, id)).toMatchObject({ outcome: 'committed' })
      expect(await tasks.wait.ended(id)).toEqual({ state: 'cancelled' })
    }
  })
})

describe('whoever may subscribe', () => {
  it('reads a run with its steps, its progress and its result', async () => {
    const { id } = await startOf({ room: 'look' })
    await untilRunning(id, 'room:look')
    await eventually(async () => expect(await stepsOf(world, id)).toEqual(['first']))
    const report = () => rpc<RunReport>('bob', 'lockstep.runs.get', { runId: id })
    await eventually(async () =>
      expect(await report()).toEqual({
        runId: id,
        task: 'wait',
        channel: 'room:look',
        state: 'running',
        phase: 'active',
        attempt: 1,
        startedBy: 'ada',
        waits: [],
        progress: { done: 1 },
        steps: [{ name: 'first', at: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:]{8}\.\d{3}Z$/) }],
      }),
    )
    const listed = await rpc<{ runs: OngoingRun[]; position: unknown }>('bob', 'lockstep.runs.list', {
      channel: 'room:look',
    })
    const { rows } = await world.direct.query(
      `select head from lockstep.channels where channel = 'room:look'`,
    )
    expect(listed).toEqual({
      runs: [
        {
          runId: id,
          task: 'wait',
          state: 'running',
          phase: 'active',
          attempt: 1,
          startedBy: 'ada',
          waits: [],
          progress: { done: 1 },
        },
      ],
      position: { epoch: expect.any(String), offset: Number(rows[0].head) },
    })
    await tasks.release(id)
    await tasks.wait.ended(id)
    expect(await report()).toMatchObject({ state: 'completed', result: { text: 'x' } })
    expect(await rpc('bob', 'lockstep.runs.list', { channel: 'room:look' })).toMatchObject({ runs: [] })
  })
})

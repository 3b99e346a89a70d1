// Runs as a page sees them: the client starts, follows and stops runs of a real node, over cut connections and from other
// pages.
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { z } from 'zod'
import { createClient, RolledBackError, type Client, type Run } from '../../../src/client/index.ts'
import { signToken, type AppOf, type Lockstep, type PgDatabase } from '../../../src/index.ts'
import { serve, type Served } from '../../support/sockets.ts'
import { createWorld, room, secret, type World } from '../../support/world.ts'
import { eventually } from '../../support/eventually.ts'

const input = z.object({ room: z.string(), text: z.string().default('x') })

function declareApplication(lockstep: Lockstep<PgDatabase>) {
  const gates = new Map<string, () => void>()
  const gate = (run: string, signal: AbortSignal): Promise<string> =>
    new Promise((resolve) => {
      gates.set(run, () => resolve('released'))
      signal.addEventListener('abort', () => resolve('stopped'))
    })
  const write = lockstep.task('write', {
    input,
    channel: ({ input: { room: id } }) => room({ id }),
    authorize: ({ input: { room: id } }) => id !== 'forbidden',
    refusals: { unwilling: z.object({ left: z.number() }) },
    failure: { userMessage: 'It was not written.' },
    retry: { attempts: 1 },
    progress: z.object({ done: z.number() }),
    async run({ input: { text }, step, runId, refuse }) {
      step.progress({ done: 1 })
      await step.commit('first', async () => text)
      await step.do('wait', ({ signal }) => gate(runId, signal))
      if (text === 'fail') throw new Error('broken')
      if (text === 'refuse') throw refuse('unwilling', { userMessage: 'No.', data: { left: 0 } })
      return { length: text.length }
    },
  })
  const alone = lockstep.task('alone', {
    input: z.object({}),
    authorize: () => true,
    run: async ({ step, runId }) => step.do('wait', ({ signal }) => gate(runId, signal)),
  })
  const ask = lockstep.operation('ask', {
    input,
    run: async ({ input: asked, tx }) => ({ run: tx.start(write, asked) }),
  })
  const release = (run: string): Promise<void> =>
    eventually(() => {
      const end = gates.get(run)
      if (end === undefined) throw new Error('its work has not begun')
      end()
    })
  return { write, alone, ask, release }
}

type Declared = ReturnType<typeof declareApplication>
type App = AppOf<Omit<Declared, 'release'>> & {
  channels: { [name: `room:${string}`]: { events: { 'note.added': { id: string; text: string } } } }
}

let world: World
let served: Served
let declared: Declared
const clients: Client<App>[] = []
beforeAll(async () => {
  world = await createWorld({ bus: false })
  declared = declareApplication(world.lockstep)
  served = await serve(world)
})
afterEach(() => {
  for (const client of clients.splice(0)) client.close()
})
afterAll(async () => {
  await world.close()
  await served.close()
})

/** A page of the user, and the errors that it reports. */
function open(user: string) {
  const errors: unknown[] = []
  const sockets: WebSocket[] = []
  class Kept extends WebSocket {
    constructor(...args: ConstructorParameters<typeof WebSocket>) {
      super(...args)
      sockets.push(this)
    }
  }
  const client = createClient<App>({
    url: served.url,
    getToken: () => signToken(secret, user, 3_600),
    websocket: Kept,
    storage: null,
    minReconnectDelayMs: 20,
    maxReconnectDelayMs: 100,
    onError: (error) => errors.push(error),
  })
  clients.push(client)
  return { client, errors, cut: () => sockets.at(-1)?.terminate() }
}
const until = (run: Run<string, unknown, unknown>, phase: string) =>
  eventually(() => expect(run.phase).toBe(phase))

describe('a run that a page starts', () => {
  it('has an outcome, goes through its phases, and has its result', async () => {
    const { client } = open('ada')
    const run = client.start('write', { room: 'a', text: 'four' })
    const phases: string[] = []
    run.on('change', () => phases.at(-1) !== run.phase && phases.push(run.phase))
    expect(run).toMatchObject({ state: 'pending', phase: 'queued', end: undefined })
    expect(await run.outcome).toMatchObject({ outcome: 'committed', result: run.ref })
    await eventually(() => expect(run.progress).toEqual({ done: 1 }))
    await declared.release(run.id)
    expect(await run.result).toEqual({ length: 4 })
    expect(run.end).toEqual({ state: 'completed', result: { length: 4 } })
    expect(await run.ended).toBe(run.end)
    expect(run.steps.map(({ name }) => name)).toEqual(['first', 'wait'])
    expect(phases).toEqual(['queued', 'active', 'completed'].slice(phases[0] === 'queued' ? 0 : 1))
  })

  it('is one run for one id', async () => {
    const { client } = open('ada')
    const first = client.start('write', { room: 'a' })
    await first.outcome
    const again = client.start('write', { room: 'a' }, { id: first.id })
    expect(await again.outcome).toMatchObject({ outcome: 'committed', result: first.ref })
    await again.stop()
    expect(await first.ended).toEqual({ state: 'cancelled' })
    expect(await again.ended).toEqual({ state: 'cancelled' })
    await expect(first.result).rejects.toMatchObject({ reason: 'LS_CLIENT_RUN_STOPPED' })
  })

  it('that is not accepted says so, also where nobody awaits it', async () => {
    const { client, errors } = open('ada')
    const run = client.start('write', { room: 'forbidden' })
    await expect(run.outcome).rejects.toMatchObject({ code: 403 })
    await expect(run.ended).rejects.toMatchObject({ reason: 'LS_FORBIDDEN' })
    expect(run.error).toMatchObject({ code: 403 })
    client.start('write', { room: 'forbidden' })
    await eventually(() => expect(errors).toMatchObject([{ reason: 'LS_FORBIDDEN' }]))
  })

  it('fails with a notice that the page has once, and a start that has committed', async () => {
    const { client } = open('ada')
    const notices: (string | undefined)[] = []
    client.notices.on(({ runId }) => notices.push(runId))
    const run = client.start('write', { room: 'a', text: 'fail' })
    await declared.release(run.id)
    expect(await run.ended).toMatchObject({
      state: 'failed',
      notice: { userMessage: 'It was not written.', runId: run.id },
      refusal: undefined,
    })
    await expect(run.result).rejects.toThrow(RolledBackError)
    expect(await run.outcome).toMatchObject({ outcome: 'committed' })
    await eventually(() => expect(notices).toEqual([run.id]))
    const refused = client.start('write', { room: 'a', text: 'refuse' })
    await declared.release(refused.id)
    expect(await refused.ended).toMatchObject({
      state: 'failed',
      refusal: { code: 'unwilling', data: { left: 0 } },
    })
  })

  it('may be shown on the channel of its user alone', async () => {
    const { client } = open('ada')
    const run = client.start('alone', {})
    await until(run, 'active')
    await declared.release(run.id)
    expect(await run.result).toBe('released')
  })
})

describe('a run that was started elsewhere', () => {
  it('is followed by its ref, as JSON, by whoever may subscribe', async () => {
    const { client } = open('ada')
    const { run: ref } = await client.call('ask', { room: 'b' }).result
    const other = open('bob').client
    const run = other.run(JSON.parse(JSON.stringify(ref)) as typeof ref)
    await until(run, 'active')
    await eventually(() => expect(run.progress).toEqual({ done: 1 }))
    expect(await other.runs('room:b')).toEqual([ref])
    await declared.release(ref.id)
    expect(await run.result).toEqual({ length: 1 })
    expect(await other.runs('room:b')).toEqual([])
    // Follow it by name and id, after its end.
    expect(await other.run('write', ref.id).ended).toEqual({ state: 'completed', result: { length: 1 } })
  })

  it('is none to whoever may not look', async () => {
    const { client } = open('owner')
    const run = client.start('write', { room: 'private' })
    await run.outcome
    const hidden = open('bob').client.run('write', run.id)
    await expect(hidden.ended).rejects.toMatchObject({ reason: 'LS_RUN_UNKNOWN' })
    await run.stop()
  })

  it('is followed over a connection that is cut, also where it ends meanwhile', async () => {
    const { client } = open('ada')
    const { client: other, cut } = open('bob')
    const started = client.start('write', { room: 'c' })
    await until(started, 'active')
    const run = other.run(started.ref)
    await until(run, 'active')
    for (const end of [false, true]) {
      const back = new Promise<void>((resolve) => {
        const off = other.connection.on('change', (state) => {
          if (state !== 'connected') return
          off()
          resolve()
        })
      })
      cut()
      if (end) await declared.release(started.id)
      await back
    }
    expect(await run.result).toEqual({ length: 1 })
  })

  it('leaves the page free to open the channel with a state', async () => {
    const { client } = open('ada')
    const run = client.start('write', { room: 'd' })
    await until(run, 'active')
    const channel = client.channel('room:d', { getState: () => Promise.resolve({ offset: 0, epoch: '' }) })
    const states: string[] = []
    channel.on('run.state', ({ state }) => states.push(state))
    await channel.ready()
    await declared.release(run.id)
    expect(await run.result).toEqual({ length: 1 })
    await eventually(() =>
      expect(states).toEqual(['pending', 'starting', 'running', 'completing', 'completed']),
    )
    // The channel stays open for the page when the run needs it no more.
    expect(channel.state).toBe('subscribed')
  })
})

it('a client that is closed follows nothing, and says so', async () => {
  const { client } = open('ada')
  const run = client.start('write', { room: 'a' })
  await run.outcome
  const ended = run.ended
  client.close()
  await expect(ended).rejects.toMatchObject({ reason: 'LS_CLIENT_CLOSED' })
  await declared.write.stop(run.id)
})

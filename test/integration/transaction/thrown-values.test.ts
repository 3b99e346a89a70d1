// Values thrown by the application's own code, wherever it is asked, and however its logger behaves: the process lives,
// the call is answered, and the operation has its outcome, its hooks and its real error.
import fc from 'fast-check'
import type { Centrifuge } from 'centrifuge'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { WebSocket } from 'ws'
import { z } from 'zod'
import { createClient } from '../../../src/client/index.ts'
import { newOperationId, signToken, type Lockstep, type Logger, type PgDatabase } from '../../../src/index.ts'
import type { Schema } from '../../../src/core/index.ts'
import { centrifuge, connected, serve, type Served } from '../../support/sockets.ts'
import { thrownValues } from '../../support/thrown.ts'
import { createWorld, secret, type World } from '../../support/world.ts'

let thrown: () => unknown = () => new Error('nothing chosen yet')
const fail = (): never => {
  throw thrown()
}
const hooks: string[] = []
const logged: unknown[] = []
/** Method of the node's one logger, which each test replaces. */
let log: (fields: object, message: string) => unknown = () => {}
const unheard: unknown[] = []
const hear = (error: unknown): void => void unheard.push(error)

const failing: Schema<unknown, unknown> = { '~standard': { version: 1, vendor: 'test', validate: fail } }
const declareFailingRoom = (lockstep: Lockstep<PgDatabase>) =>
  lockstep.channel('failing:{id}', { events: { e: failing }, canSubscribe: fail })
let failingRoom: ReturnType<typeof declareFailingRoom>

let world: World
let served: Served
let ada: Centrifuge
let declared = false

async function setUp() {
  // Log method that returns a value, a promise too, which the type of a logger lets pass.
  const level = (fields: object, message: string): void => log(fields, message) as void
  const logger: Logger = { debug: level, info: level, warn: level, error: level }
  world = await createWorld({
    logger,
    declare: (lockstep) => void (failingRoom = declareFailingRoom(lockstep)),
    auth: async ({ token = '' }) => (token === 'bad' ? fail() : { user: { id: token } }),
    rollout: {
      provider: {
        resolveStringEvaluation: async (_flag, _mode, _user, said) => {
          said.error(thrown())
          return fail()
        },
      },
    },
    metrics: { authorize: fail },
    dashboard: { authorize: fail },
    monitor: { alerts: { onAlert: fail } },
  })
  served = await serve(world)
  ada = await connected(centrifuge(served.url, 'ada'))
}

beforeAll(async () => {
  vi.spyOn(process.stderr, 'write').mockReturnValue(true)
  vi.spyOn(console, 'error').mockReturnValue()
  process.on('unhandledRejection', hear)
  process.on('uncaughtException', hear)
  await setUp()
})
afterAll(async () => {
  ada.disconnect()
  await world.close()
  await served.close()
  process.off('unhandledRejection', hear)
  process.off('uncaughtException', hear)
})
/** Compares by identity: callers get the very value that was thrown. */
const same = (a: unknown, b: unknown): boolean => Object.is(a, b)

async function operationsEnd(value: unknown): Promise<void> {
  hooks.length = 0
  // Wrap the error in a list: a promise would look for a `then` in what it is resolved with.
  const [raised] = await world.lockstep
    .transaction({ name: 'fails', user: 'ada' }, async (tx) => {
      tx.afterRollback(fail)
      tx.afterRollback(() => void hooks.push('after rollback'))
      await tx.db.query('select 1')
      return fail()
    })
    .then(
      () => expect.unreachable('it committed'),
      (error: unknown) => [error],
    )
  // Expect no error where there was no value to keep.
  expect(same(raised, value) || (value ?? undefined) === undefined).toBe(true)
  const done = await world.lockstep.transaction({ name: 'commits', user: 'ada' }, async (tx) => {
    tx.afterCommit(fail)
    tx.afterCommit(() => void hooks.push('after commit'))
    return 'done'
  })
  expect(done).toBe('done')
  expect(hooks).toEqual(['after rollback', 'after commit'])
}

async function callsAreAnswered(): Promise<void> {
  for (const name of ['op_runs', 'op_authorizes', 'op_emits', 'op_result'])
    expect(await call(name)).toMatchObject({ data: { outcome: 'rolled_back' } })
  for (const name of ['op_validates', 'read_runs', 'read_authorizes', 'read_result'])
    expect(await call(name)).toMatchObject({ code: expect.any(Number) })
  const subscription = ada.newSubscription('failing:1')
  const refused = new Promise((resolve) => subscription.once('error', resolve))
  const ended = new Promise((resolve) => subscription.once('unsubscribed', resolve))
  subscription.subscribe()
  await Promise.race([refused, ended])
  ada.removeSubscription(subscription)
}

function call(method: string): Promise<unknown> {
  return ada.rpc(method, { id: newOperationId(), input: {} }).catch((error: unknown) => error)
}

/** Resolves when the server has answered in some way, or has closed. */
async function connectBadly(): Promise<void> {
  const socket = new WebSocket(served.url)
  await new Promise((resolve) => socket.once('open', resolve))
  const answered = new Promise((resolve) => {
    socket.once('message', resolve)
    socket.once('close', resolve)
  })
  socket.send('{"id":1,"connect":{"token":"bad"}}')
  await answered
  socket.terminate()
}

async function pagesAreRefused(): Promise<void> {
  for (const page of ['metrics', 'dashboard']) {
    const { status } = await world.lockstep.fetch(new Request(`http://localhost/lockstep/${page}`))
    expect(status).toBeGreaterThanOrEqual(400)
  }
}

const asynchronously = (): unknown => Promise.resolve().then(fail)

async function aClientLives(): Promise<void> {
  let asked = 0
  const client = createClient({
    url: served.url,
    websocket: WebSocket,
    minReconnectDelayMs: 1,
    maxReconnectDelayMs: 2,
    getToken: async () => (++asked < 3 ? fail() : signToken(secret, 'ada', 60)),
    onError: fail,
  })
  client.connection.on('change', asynchronously)
  await vi.waitUntil(() => client.connection.state === 'connected', { timeout: 10_000 })
  client.close()
}

function declare(): void {
  const { lockstep } = world
  const input = z.object({})
  const anything: Schema<unknown, unknown> = {
    '~standard': { version: 1, vendor: 'test', validate: (value: unknown) => ({ value }) },
  }
  lockstep.operation('op_runs', { input, run: async () => fail() })
  lockstep.operation('op_authorizes', { input, authorize: fail, run: async () => 1 })
  lockstep.operation('op_validates', { input: failing, run: async () => 1 })
  lockstep.operation('op_emits', { input, run: async ({ tx }) => tx.emit(failingRoom({ id: '1' }), 'e', {}) })
  lockstep.operation('op_result', { input, run: async () => ({ toJSON: fail }) })
  lockstep.query('read_runs', { input, run: async () => fail() })
  lockstep.query('read_authorizes', { input, authorize: fail, run: async () => 1 })
  lockstep.query('read_result', { input: anything, run: async () => ({ toJSON: fail }) })
}

const loggers: readonly [string, typeof log][] = [
  ['keeps its lines', (fields) => void logged.push(fields)],
  ['throws', fail],
  ['is async and rejects', async () => fail()],
]

test.each(loggers)(
  'no value thrown anywhere ends the process, with a logger that %s',
  { timeout: 120_000 },
  async (_, logger) => {
    log = logger
    if (!declared) declare()
    declared = true
    await fc.assert(
      fc.asyncProperty(thrownValues, async (make) => {
        const value = make()
        thrown = () => value
        await operationsEnd(value)
        await callsAreAnswered()
        await connectBadly()
        await pagesAreRefused()
      }),
      { numRuns: 40, endOnFailure: true },
    )
    await aClientLives()
    expect(unheard).toEqual([])
    log = () => {}
    thrown = () => new Error('the last one')
    expect(
      await world.addNote.call({ room: 'a', id: newOperationId(), text: 'x' }, { user: 'ada' }),
    ).toMatchObject({
      outcome: 'committed',
    })
  },
)

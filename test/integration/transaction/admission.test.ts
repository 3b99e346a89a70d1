// Admission of operations to the connections of a real pool.
import { afterEach, expect, it } from 'vitest'
import { z } from 'zod'
import { createClient } from '../../../src/client/index.ts'
import {
  newOperationId,
  serverUser,
  signToken,
  type Lockstep,
  type PgDatabase,
  type UserContext,
} from '../../../src/index.ts'
import { WebSocket } from 'ws'
import { signal } from '../gateway/harness.ts'
import { centrifuge, connected, Inbox, serve } from '../../support/sockets.ts'
import { createWorld, secret, type WorldOptions } from '../../support/world.ts'

const poolSize = 4
const ends: (() => unknown)[] = []
afterEach(async () => {
  for (const end of ends.splice(0).toReversed()) await end()
})

/** A world with an operation that holds its connection until it is told to go on. */
async function createBusyWorld(options: WorldOptions = {}) {
  const asked: string[] = []
  const declare = (node: Lockstep<PgDatabase>) =>
    node.channel('door:{id}', {
      canSubscribe: async ({ db, user }) => {
        await db.query('select 1')
        asked.push(user.id)
        return true
      },
    })
  const world = await createWorld({ poolSize, declare, ...options })
  ends.push(() => world.close())
  const { lockstep } = world
  const goOn = signal()
  const begun = new Inbox<string>()
  const hold = lockstep.operation('hold', {
    input: z.unknown(),
    async run({ tx }) {
      await tx.db.query('select 1')
      begun.push(tx.operationId)
      await goOn.promise
    },
  })
  const look = lockstep.query('look', {
    input: z.unknown(),
    authorize: async ({ db }) => (await db.query('select 1')).rows.length === 1,
    run: async ({ db }) => (await db.query<{ one: number }>('select 1 as one')).rows[0]?.one,
  })
  const untilBegun = (count: number): Promise<unknown> => begun.until(({ length }) => length >= count)
  const outcomes: Promise<unknown>[] = []
  ends.push(async () => {
    goOn.fire()
    await Promise.allSettled(outcomes)
  })
  /** Starts so many operations of one user, and ignores refusals. */
  const holdMany = (user: string | UserContext, count: number): void => {
    for (let n = 0; n < count; n += 1) {
      const outcome = hold.call(n, { user })
      outcome.catch(() => {})
      outcomes.push(outcome)
    }
  }
  return { world, lockstep, hold, look, holdMany, untilBegun, goOn, outcomes, asked }
}

const add = (id: string) => ({ room: 'a', id, text: 'x' })

it('one user whose operations never end leaves others their turn: to operations, queries and subscriptions', async () => {
  const { world, holdMany, untilBegun, look, asked } = await createBusyWorld()
  holdMany('eve', 100)
  await untilBegun(1)
  expect(await world.addNote.call(add('1'), { user: 'ada' })).toMatchObject({ outcome: 'committed' })
  expect(await look.execute(undefined, { id: 'ada' }, AbortSignal.timeout(60_000))).toBe(1)
  const served = await serve(world)
  ends.push(() => served.close())
  const ada = await connected(centrifuge(served.url, 'ada'))
  ends.push(() => ada.disconnect())
  const subscription = ada.newSubscription('door:1')
  subscription.subscribe()
  await subscription.ready()
  expect(asked).toEqual(['ada'])
})

it('so do many users whose operations are known to take long', async () => {
  const { world, holdMany, untilBegun, goOn, outcomes } = await createBusyWorld()
  const users = ['eve0', 'eve1', 'eve2', 'eve3', 'eve4']
  // Make each user known by a first call.
  await Promise.all(
    users.map((user) =>
      world.lockstep.transaction({ name: 'slow', user }, async (tx) => {
        await tx.db.query('select pg_sleep(0.8)')
      }),
    ),
  )
  for (const user of users) holdMany(user, 10)
  await untilBegun(poolSize / 2)
  for (let n = 0; n < 5; n += 1) {
    expect(await world.addNote.call(add(`${n}`), { user: `ada${n}` })).toMatchObject({
      outcome: 'committed',
    })
  }
  goOn.fire()
  await Promise.allSettled(outcomes)
})

it('what waited too long is refused, has no effect and no notice, and its id can be used again', async () => {
  const { world, holdMany, untilBegun, hold, goOn } = await createBusyWorld({ admission: { maxWaitMs: 200 } })
  holdMany('eve', poolSize)
  await untilBegun(1)
  const id = newOperationId()
  const refused = hold.call('one more', { user: 'eve', id })
  await expect(refused).rejects.toMatchObject({
    code: 'LS_NODE_OVERLOADED',
    retryable: true,
    details: { retryAfterMs: expect.any(Number) },
  })
  expect(await world.rows('select id from lockstep.operations where id = $1', [id])).toEqual([])
  expect(await world.eventsOf('user:eve')).toEqual([])
  goOn.fire()
  expect(await hold.call('one more', { user: 'eve', id })).toMatchObject({ outcome: 'committed' })
})

it('one user has so many open at once, and no more', async () => {
  const { hold, holdMany, untilBegun, world } = await createBusyWorld({ admission: { maxOpenPerUser: 3 } })
  holdMany('eve', 3)
  await untilBegun(1)
  await expect(hold.call('one more', { user: 'eve' })).rejects.toMatchObject({
    code: 'LS_NODE_OVERLOADED',
  })
  expect(await world.addNote.call(add('1'), { user: 'ada' })).toMatchObject({ outcome: 'committed' })
})

it('a client learns when to come again, and its call is sent until it is served', async () => {
  const { world, holdMany, untilBegun, goOn, outcomes } = await createBusyWorld({
    admission: { maxOpenPerUser: 2 },
  })
  const served = await serve(world)
  ends.push(() => served.close())
  holdMany('eve', 2)
  await untilBegun(1)
  const sdk = await connected(centrifuge(served.url, 'eve'))
  ends.push(() => sdk.disconnect())
  await expect(sdk.rpc('add_note', { id: newOperationId(), input: add('1') })).rejects.toMatchObject({
    code: 111,
    temporary: true,
    message: expect.stringMatching(/^LS_NODE_OVERLOADED: .* Retry after \d+ ms\.$/),
  })
  const client = createClient({
    url: served.url,
    getToken: () => signToken(secret, 'eve', 3_600),
    websocket: WebSocket,
    storage: null,
  })
  ends.push(() => client.close())
  const refusedBefore = world.lockstep.admission.refused
  const call = client.call('add_note', add('2'))
  await expect.poll(() => world.lockstep.admission.refused).toBeGreaterThan(refusedBefore)
  goOn.fire()
  await Promise.allSettled(outcomes)
  expect(await call.outcome).toMatchObject({ outcome: 'committed' })
})

it.each<[string, NonNullable<WorldOptions['admission']>]>([
  ['are more than may be open on the node', { maxOpen: 3 }],
  ['are more than one user may have open', { maxOpenPerUser: 3 }],
  ['wait for their turn', { maxWaitMs: 60_000 }],
])('a revocation reaches the log at once while jobs of the server %s', async (_what, admission) => {
  const { world, lockstep, holdMany, untilBegun } = await createBusyWorld({ admission })
  holdMany(serverUser, 20)
  await untilBegun(1)
  await lockstep.revoke({ user: 'eve' })
  expect(await world.eventsOf('lockstep:revocations')).toHaveLength(1)
})

it('a node that stops refuses what waits for its turn, which had not been accepted', async () => {
  const { lockstep, hold, holdMany, untilBegun, goOn, world } = await createBusyWorld()
  holdMany('eve', poolSize)
  await untilBegun(1)
  const id = newOperationId()
  const waiting = hold.call('one more', { user: 'eve', id })
  const closed = lockstep.close({ drainMs: 5_000 })
  await expect(waiting).rejects.toMatchObject({ code: 'LS_NODE_STOPPING' })
  goOn.fire()
  await closed
  expect(await world.rows('select id from lockstep.operations where id = $1', [id])).toEqual([])
})

it('an operation that waits for its turn is pending to whoever asks for its outcome', async () => {
  const { world, hold, holdMany, untilBegun, goOn } = await createBusyWorld()
  const served = await serve(world)
  ends.push(() => served.close())
  holdMany('eve', poolSize)
  await untilBegun(1)
  const id = newOperationId()
  const waiting = hold.call('one more', { user: 'eve', id })
  const sdk = await connected(centrifuge(served.url, 'eve'))
  ends.push(() => sdk.disconnect())
  const { data } = await sdk.rpc('lockstep.outcomes', { ids: [id] })
  expect(data).toEqual({ outcomes: [{ outcome: 'pending', operationId: id }] })
  goOn.fire()
  expect(await waiting).toMatchObject({ outcome: 'committed' })
})

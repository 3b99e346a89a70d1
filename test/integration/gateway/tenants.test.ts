// Two tenants with the same channel names and the same user ids do not meet.
import { z } from 'zod'
import { afterAll, beforeAll, expect, test } from 'vitest'
import {
  newOperationId,
  signToken,
  type Lockstep,
  type PgDatabase,
  type UserContext,
} from '../../../src/index.ts'
import { serve, type Served } from '../../support/sockets.ts'
import { createWorld, secret, type World } from '../../support/world.ts'
import { RawClient } from './harness.ts'

// Channel family whose own check lets everyone in: the parameter alone keeps tenants apart.
const declareBoard = (lockstep: Lockstep<PgDatabase>) =>
  lockstep.channel('tenant:{tenant}:board:{id}', {
    events: { noted: z.object({ text: z.string() }) },
    canSubscribe: () => true,
  })
let board: ReturnType<typeof declareBoard>
let world: World
let served: Served
const seen: UserContext[] = []

beforeAll(async () => {
  world = await createWorld({
    declare: (lockstep) => void (board = declareBoard(lockstep)),
    auth: { secret, idsPerTenant: true },
  })
  served = await serve(world)
  world.lockstep.operation('note', {
    input: z.object({ text: z.string(), fail: z.boolean() }),
    async run({ input, user, tx }) {
      seen.push(user)
      tx.emit(board({ tenant: user.tenant ?? '', id: '1' }), 'noted', { text: input.text })
      if (input.fail) throw new Error('cannot')
    },
  })
})
afterAll(async () => {
  await served.close()
  await world.close()
})

async function connect(tenant: string, user = 'ann', sid?: string): Promise<RawClient> {
  const client = await RawClient.open(served.url)
  const token = await signToken(secret, user, 60, { tenant, ...(sid === undefined ? {} : { sid }) })
  await client.ask({ id: 1, connect: { token } })
  return client
}
const said = (client: RawClient): string => JSON.stringify(client.messages)

test('events, notices and outcomes stay with their tenant', async () => {
  const [acme, other] = [await connect('acme'), await connect('other')]
  expect(said(acme)).toContain('"user:acme|ann"')
  const foreign = await other.ask({ id: 2, subscribe: { channel: 'tenant:acme:board:1' } })
  expect(foreign).toMatchObject({ error: { code: 103 } })
  expect(await other.ask({ id: 3, subscribe: { channel: 'user:acme|ann' } })).toMatchObject({
    error: { code: 103 },
  })
  for (const [client, tenant] of [
    [acme, 'acme'],
    [other, 'other'],
  ] as const) {
    const own = await client.ask({ id: 4, subscribe: { channel: `tenant:${tenant}:board:1` } })
    expect(own).toMatchObject({ id: 4, subscribe: {} })
  }
  const id = newOperationId()
  acme.send({ id: 5, rpc: { method: 'note', data: { id, input: { text: 'acme only', fail: false } } } })
  acme.send({
    id: 6,
    rpc: { method: 'note', data: { id: newOperationId(), input: { text: 'x', fail: true } } },
  })
  // Two replies, the event and the notice.
  const frames = JSON.stringify(await acme.take(4))
  expect(frames).toContain('acme only')
  expect(frames).toContain('transaction_rolled_back')
  // A user with the same id in the other tenant knows the operation's id, and learns nothing by it: to them it is an id
  // of their own, and new.
  const asked = await other.ask({ id: 7, rpc: { method: 'lockstep.outcomes', data: { ids: [id] } } })
  expect(asked).toMatchObject({
    id: 7,
    rpc: { data: { outcomes: [{ outcome: 'never_received', operationId: id }] } },
  })
  expect(said(other)).not.toMatch(/acme only|transaction_rolled_back/)
  for (const client of [acme, other]) client.socket.terminate()
})

test('a revocation reaches the users of one tenant only', async () => {
  const [acme, other] = [await connect('acme', 'bob'), await connect('other', 'bob')]
  await world.lockstep.revoke({ user: 'acme|bob' })
  expect((await acme.closed).code).toBe(3507)
  expect(await other.ask({ id: 2, ping: {} })).toMatchObject({ id: 2 })
  other.socket.terminate()
})

test.each([
  ['no tenant', undefined],
  ['a separator in it', 'acme|x'],
  ['an empty one', ''],
])('a token with %s is refused', async (_name, tenant) => {
  const client = await RawClient.open(served.url)
  const token = await signToken(secret, 'ann', 60, tenant === undefined ? {} : { tenant })
  client.send({ id: 1, connect: { token } })
  expect((await client.closed).code).toBe(3500)
})

test('the user context is one frozen object, and every failure is logged with it', async () => {
  const client = await connect('acme', 'eve', 'session-1')
  seen.length = 0
  world.logger.lines.length = 0
  await client.ask({
    id: 9,
    rpc: { method: 'note', data: { id: newOperationId(), input: { text: 'x', fail: true } } },
  })
  const [user] = seen
  expect(Object.isFrozen(user)).toBe(true)
  const context = {
    id: 'acme|eve',
    tenant: 'acme',
    sessionId: 'session-1',
    requestId: expect.stringMatching(/^[0-9a-f-]{36}\/9$/) as string,
  }
  expect(user).toEqual(context)
  const failed = world.logger.lines.find(({ message }) => message === 'an operation failed')
  expect(failed?.fields['user']).toEqual(context)
  client.socket.terminate()
})

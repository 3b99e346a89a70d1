// Users of calls and their rights: users that no token can name, checks that answer anything but true, names that would
// be taken for something else.
import { SignJWT } from 'jose'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { LockstepError, newOperationId, serverUser, signToken } from '../../../src/index.ts'
import { createTokenAuthenticator } from '../../../src/auth/index.ts'
import { centrifuge, connected, serve, type Served } from '../../support/sockets.ts'
import { executeCoordinatedOperation } from '../../../src/plan.ts'
import { createWorld, secret, type World } from '../../support/world.ts'
import { RawClient } from './harness.ts'

let world: World
let served: Served

beforeAll(async () => {
  world = await createWorld()
  served = await serve(world)
})
afterAll(async () => {
  await world.close()
  await served.close()
})

/** Reads the `subs` of the reply to connect, or the code of the close. */
async function connect(subject: string, token?: string): Promise<unknown> {
  const client = await RawClient.open(served.url)
  const answered = client.ask({ id: 1, connect: { token: token ?? (await signToken(secret, subject, 60)) } })
  const reply = answered.then((answer) => (answer as { connect: { subs: unknown } }).connect.subs)
  return Promise.race([client.closed.then(({ code }) => code), reply])
}

describe('the user of what no person asked for', () => {
  it.each(['lockstep:server', 'lockstep:', 'lockstep:anything'])(
    'cannot be named by a token for %s',
    async (subject) => {
      await expect(signToken(secret, subject, 60)).rejects.toThrow('userId')
      const token = await new SignJWT({ sub: subject })
        .setProtectedHeader({ alg: 'HS256' })
        .setExpirationTime('1m')
        .sign(new TextEncoder().encode(secret))
      expect(await connect(subject, token)).toBe(3500)
    },
  )

  it.each(['lockstep:server', 'lockstep:'])('cannot be named by a text on the server: %s', async (user) => {
    const run = world.lockstep.transaction({ name: 'nightly', user }, async () => {})
    await expect(run).rejects.toMatchObject({ code: 'LS_USER_ID_INVALID' })
  })

  it('owns the notices and outcomes of such operations, and a person called system does not', async () => {
    const system = await connected(centrifuge(served.url, 'system'))
    const heard: unknown[] = []
    system.on('publication', (publication) => heard.push(publication))
    const fails = { operationName: 'nightly', databaseOperation: () => Promise.reject(new Error('x')) }
    await expect(executeCoordinatedOperation(world.lockstep, fails)).rejects.toThrow('x')
    const id = newOperationId()
    await world.lockstep.transaction({ name: 'nightly', user: serverUser, id }, async () => 'secret')
    expect(await world.eventsOf('user:lockstep:server')).toHaveLength(1)
    expect((await system.rpc('lockstep.outcomes', { ids: [id] })).data).toEqual({
      outcomes: [{ outcome: 'never_received', operationId: id }],
    })
    expect(heard).toEqual([])
    system.disconnect()
  })
})

describe('authorize', () => {
  it.each(['LS_FORBIDDEN', 'LS_NODE_OVERLOADED', 'LS_NODE_STOPPING'] as const)(
    'that fails with %s accepts nothing, also where an ORM has wrapped the error',
    async (code) => {
      const refusal = new LockstepError(code, { details: { retryAfterMs: 5 } })
      const operation = world.lockstep.operation(`wrapped_${code.toLowerCase()}`, {
        input: z.unknown(),
        authorize: () =>
          Promise.reject(new Error('Failed query', { cause: new Error('x', { cause: refusal }) })),
        run: async () => 'ran',
      })
      const id = newOperationId()
      await expect(operation.call(1, { user: 'wrapped', id })).rejects.toBe(refusal)
      expect(await world.rows('select id from lockstep.operations where id = $1', [id])).toEqual([])
      expect(await world.eventsOf('user:wrapped')).toEqual([])
    },
  )

  it.each<[string, unknown, string]>([
    ['a text', 'false', 'string'],
    ['a number', 1, 'number'],
    ['a row', { id: 1 }, 'object'],
    ['an empty list', [], 'object'],
    ['null', null, 'null'],
    ['nothing', undefined, 'undefined'],
  ])('that answers %s lets nobody through, and the log says why', async (what, answer, named) => {
    const name = `guarded_${what.replaceAll(' ', '_')}`
    const gate = { input: z.unknown(), authorize: () => answer as boolean }
    const operation = world.lockstep.operation(name, { ...gate, run: async () => 'ran' })
    world.lockstep.query(`${name}_query`, { ...gate, run: async () => 'ran' })
    const message = expect.stringContaining(`answered ${named}, and only true lets a call through`)
    await expect(operation.call(1, { user: 'ada' })).rejects.toMatchObject({
      code: 'LS_FORBIDDEN',
      message,
    })
    const ada = await connected(centrifuge(served.url, 'ada'))
    const id = newOperationId()
    await expect(ada.rpc(name, { id, input: 1 })).rejects.toMatchObject({ code: 403 })
    await expect(ada.rpc(`${name}_query`, 1)).rejects.toMatchObject({
      code: 403,
      message: 'LS_FORBIDDEN: You may not do this.',
    })
    expect(world.logger.lines).toContainEqual(
      expect.objectContaining({ level: 'warn', fields: expect.objectContaining({ method: name }), message }),
    )
    ada.disconnect()
  })

  it('that answers no is an answer, and nothing to log', async () => {
    const refuses = { input: z.unknown(), authorize: () => false, run: async () => 'ran' }
    world.lockstep.operation('refused', refuses)
    const ada = await connected(centrifuge(served.url, 'ada'))
    await expect(ada.rpc('refused', { id: newOperationId(), input: 1 })).rejects.toMatchObject({ code: 403 })
    expect(world.logger.lines.filter(({ fields }) => fields['method'] === 'refused')).toEqual([])
    ada.disconnect()
  })
})

it.each([
  ['an empty text', '', '1 to 200 characters'],
  ['a text of 201 characters', 'x'.repeat(201), '1 to 200 characters'],
  ['a number', 7 as unknown as string, 'Given: number'],
  ['nothing', undefined as unknown as string, 'Given: undefined'],
])(
  '%s is no name of a transaction: its rollback would look like that of an id that was never heard of',
  async (_, name, text) => {
    const id = newOperationId()
    const run = world.lockstep.transaction({ name, user: 'ada', id }, () =>
      Promise.reject(new Error('cannot')),
    )
    await expect(run).rejects.toMatchObject({
      code: 'LS_CONFIG_INVALID',
      message: expect.stringContaining(text),
    })
    expect(await world.rows('select 1 from lockstep.operations where id = $1', [id])).toEqual([])
  },
)

it('a token without exp is let in, and the log says so once; requireExpiry refuses it', async () => {
  const sign = (subject: string): Promise<string> =>
    new SignJWT({ sub: subject }).setProtectedHeader({ alg: 'HS256' }).sign(Buffer.from(secret))
  expect(await connect('', await sign('ada'))).toHaveProperty('user:ada')
  expect(await connect('', await sign('eve'))).toHaveProperty('user:eve')
  const said = world.logger.lines.filter(({ message }) =>
    message.includes('a token without exp was accepted'),
  )
  expect(said).toHaveLength(1)
  const strict = createTokenAuthenticator({ secret, requireExpiry: true })
  await expect(strict(await sign('ada'))).rejects.toMatchObject({ code: 'LS_UNAUTHENTICATED' })
  expect(await strict(await signToken(secret, 'ada', 60))).toMatchObject({ user: { id: 'ada' } })
})

describe('a user whose id an identity provider has made', () => {
  it.each([
    'did:plc:z72i7hdynmk6r22z27h6tvur',
    "ada.o'brien+work@example.com",
    'https://social.example/@ada?x=%41#1',
    'CN=Ada Lovelace,OU="Babbage, Inc."',
    'f:0d1d2b8e-0f0e:ada*',
    `x${'y'.repeat(249)}`,
  ])('as %s has a channel, notices, outcomes and revocations like any other', async (user) => {
    const own = await connected(centrifuge(served.url, user))
    const heard: { channel: string; data: unknown }[] = []
    own.on('publication', ({ channel, data }) => void heard.push({ channel, data: data as unknown }))
    const id = newOperationId()
    const failed = await own.rpc('add_note', { id, input: { room: 'a', id, text: 'x', fail: true } })
    expect(failed.data).toMatchObject({ outcome: 'rolled_back' })
    const notice = { type: 'transaction_rolled_back', operationId: id }
    await expect.poll(() => heard).toMatchObject([{ channel: `user:${user}`, data: notice }])
    expect(await world.eventsOf(`user:${user}`)).toHaveLength(1)
    expect((await own.rpc('lockstep.outcomes', { ids: [id] })).data).toMatchObject({
      outcomes: [{ outcome: 'rolled_back', operationId: id }],
    })
    const stranger = await RawClient.open(served.url)
    await stranger.ask({ id: 1, connect: { token: await signToken(secret, 'eve', 60) } })
    expect(await stranger.ask({ id: 2, subscribe: { channel: `user:${user}` } })).toMatchObject({
      error: { code: expect.any(Number) },
    })
    const ended = new Promise((resolve) => own.on('disconnected', resolve))
    await world.lockstep.revoke({ user })
    expect(await ended).toMatchObject({ code: 3507 })
    stranger.socket.terminate()
  })
})

// Refusals of clients, as an operator sees them.
import { once } from 'node:events'
import { afterEach, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { LockstepError } from '../../../src/core/index.ts'
import { createGateway } from '../../../src/gateway/index.ts'
import { signToken, type Credentials } from '../../../src/auth/index.ts'
import { RawClient, startWorld, token, type World } from './harness.ts'
import { ManualClock } from '../../support/manual-clock.ts'

let worlds: World[] = []
afterEach(async () => {
  await Promise.all(worlds.splice(0).map((started) => started.stop()))
})

async function world(options: Parameters<typeof startWorld>[0] = {}): Promise<World> {
  const started = await startWorld(options)
  worlds.push(started)
  return started
}

const ask = async (at: World, line: object | string): Promise<RawClient> => {
  const client = await RawClient.open(at.url)
  client.send(line)
  return client
}

const refusalsIn = (at: World): unknown[] =>
  at.logged.filter(({ message }) => message.startsWith('connection refused'))

test.each<[string, string, (at: World) => Promise<RawClient>, Readonly<Record<string, unknown>>]>([
  [
    'a token of another secret',
    'token',
    async (at) =>
      ask(at, { id: 1, connect: { token: await signToken('another secret, long enough for it', 'a', 9) } }),
    { why: 'The token was refused: signature verification failed' },
  ],
  [
    'a page of another origin',
    'origin',
    (at) => RawClient.open(at.url, { origin: 'https://evil.example' }),
    { origin: 'https://evil.example' },
  ],
  ['a first message that is none', 'protocol', (at) => ask(at, 'GET /'), { found: 'not JSON' }],
  [
    'a connect that is too large',
    'too_large',
    (at) => ask(at, { id: 1, connect: { token: 'x'.repeat(5_000) } }),
    {},
  ],
  [
    'a user with too many connections',
    'user_limit',
    async (at) => {
      await RawClient.connect(at, 'ann')
      return ask(at, { id: 1, connect: { token: await token('ann') } })
    },
    { userId: 'ann' },
  ],
])('%s is logged and counted', async (_name, reason, refused, fields) => {
  const at = await world({ limits: { maxConnectionsPerUser: 1 } })
  const client = await refused(at)
  await client.closed
  expect(refusalsIn(at)).toMatchObject([{ level: 'warn', fields: { reason, ...fields } }])
  expect(at.gateway.refusals).toMatchObject({ [reason]: 1 })
})

test('a thousand refusals are a thousand in the count, and a line every ten seconds', async () => {
  const clock = new ManualClock()
  const at = await world({ clock, limits: { maxConnections: 1 } })
  await RawClient.connect(at, 'ann')
  const turnedAway = async (): Promise<void> => {
    const socket = new WebSocket(at.url)
    socket.on('error', () => {})
    await once(socket, 'unexpected-response')
    socket.terminate()
  }
  for (let n = 0; n < 20; n += 1) await turnedAway()
  expect(refusalsIn(at)).toHaveLength(1)
  clock.advance(10_000)
  await turnedAway()
  expect(refusalsIn(at)).toMatchObject([{}, { fields: { reason: 'node_limit', sinceLastLine: 20 } }])
  expect(at.gateway.refusals.node_limit).toBe(21)
})

test('the WebSocket asked for over HTTP: 426 where attach was called, else 404 and a line for the operator', async () => {
  const at = await world()
  const http = new Request('http://any/lockstep/ws')
  expect((await at.gateway.fetch(http)).status).toBe(426)
  const lines: string[] = []
  const logger = {
    debug: () => {},
    info: () => {},
    warn: (_: object, text: string) => lines.push(text),
    error: () => {},
  }
  const gateway = createGateway({ ports: { logger } as never })
  expect((await gateway.fetch(http)).status).toBe(404)
  expect(lines).toEqual([expect.stringContaining('lockstep.attach(server) was not called') as string])
})

const temporary = { error: { code: 100, temporary: true } }

/** A gateway whose `auth` accepts tokens that begin with `good`, and throws what `failing` gives for all others. */
async function judging(failing: (token: string) => unknown) {
  const clock = new ManualClock()
  const authenticate = ({ token: text }: Credentials) =>
    text.startsWith('good') ? Promise.resolve({ user: { id: text } }) : Promise.reject(failing(text))
  const at = await world({ clock, pingIntervalMs: 600_000, ports: { authenticate } })
  const answer = async (text: string): Promise<unknown> => {
    const client = await ask(at, { id: 1, connect: { token: text } })
    return Promise.race([client.next(), client.closed])
  }
  const accept = async (): Promise<void> => expect(await answer('good')).toHaveProperty('connect')
  return { clock, at, answer, accept }
}

test('auth that throws a plain error on one token and accepts others is tried again for a while, then the token is refused', async () => {
  const thrown = new TypeError('jwt malformed')
  const { clock, at, answer, accept } = await judging(() => thrown)
  for (let n = 0; n < 10; n += 1) {
    expect(await answer('bad')).toMatchObject(temporary)
    await accept()
  }
  clock.advance(30_000)
  // The first failure of a second token.
  expect(await answer('other')).toMatchObject(temporary)
  expect(await answer('bad')).toEqual({ code: 3500, reason: 'invalid token' })
  expect(at.gateway.refusals).toMatchObject({ auth_failed: 11, token: 1 })
  expect(refusalsIn(at)).toMatchObject([
    { fields: { reason: 'auth_failed', error: thrown } },
    { fields: { reason: 'auth_failed', error: thrown, sinceLastLine: 10 } },
    { fields: { reason: 'token', error: thrown } },
  ])
})

test('auth that fails on every token refuses none of them, however long it lasts', async () => {
  const { clock, answer, accept } = await judging(() => new Error('a query of ours failed'))
  await accept()
  for (let n = 0; n < 10; n += 1) {
    expect(await answer('bad')).toMatchObject(temporary)
    clock.advance(10_000)
  }
  // The first that gets through makes those who come a moment too early no worse.
  await accept()
  expect(await answer('bad')).toMatchObject(temporary)
})

test('a token that auth accepts now and then is not refused', async () => {
  const clock = new ManualClock()
  let isDown = true
  const authenticate = ({ token: text }: Credentials) =>
    text === 'ann' && isDown ? Promise.reject(new Error('down')) : Promise.resolve({ user: { id: text } })
  const at = await world({ clock, ports: { authenticate } })
  const connect = async (text: string): Promise<unknown> =>
    (await ask(at, { id: 1, connect: { token: text } })).next()
  for (let n = 0; n < 12; n += 1) {
    isDown = n % 4 < 3
    expect(await connect('ann')).toMatchObject(isDown ? temporary : { connect: {} })
    expect(await connect('bob')).toMatchObject({ connect: {} })
    clock.advance(10_000)
  }
})

test('auth that refuses by a code that there is not refuses the token, and the log says which code was meant', async () => {
  const { at, answer } = await judging(() => {
    try {
      return new LockstepError('LS_UNAUTHENTICATE' as never)
    } catch (error) {
      return error
    }
  })
  expect(await answer('bad')).toEqual({ code: 3500, reason: 'invalid token' })
  expect(refusalsIn(at)).toMatchObject([
    {
      fields: {
        reason: 'token',
        why: expect.stringContaining('Did you mean "LS_UNAUTHENTICATED"?') as string,
      },
    },
  ])
})

const wrapped = (cause: unknown): Error => new Error('wrapped', { cause })
const coded = (code: string): Error => Object.assign(new Error(code), { code })

test.each<[string, unknown]>([
  ['a refused connection', coded('ECONNREFUSED')],
  ['a database error of Lockstep', new LockstepError('LS_DATABASE_UNREACHABLE')],
  ['an error of the driver that an ORM wrapped', wrapped(wrapped(coded('57P01')))],
  ['fetch without a server', new TypeError('fetch failed', { cause: coded('ECONNREFUSED') })],
  ['fetch without a name', new TypeError('fetch failed', { cause: coded('ENOTFOUND') })],
  ['fetch without an answer', new TypeError('fetch failed', { cause: coded('UND_ERR_HEADERS_TIMEOUT') })],
  ['fetch over several addresses', wrapped(new AggregateError([coded('ENETUNREACH'), coded('ETIMEDOUT')]))],
  ['a request that took too long', new DOMException('timed out', 'TimeoutError')],
])('%s in auth is an outage: the token is refused at no time', async (_name, thrown) => {
  const { clock, answer, accept } = await judging(() => thrown)
  for (let n = 0; n < 10; n += 1) {
    expect(await answer('bad')).toMatchObject(temporary)
    await accept()
    clock.advance(10_000)
  }
})

test('an outage of auth closes no connection that refreshes its token', async () => {
  const { clock, at, accept } = await judging(() => wrapped(coded('ECONNRESET')))
  const client = await ask(at, { id: 1, connect: { token: 'good ann' } })
  await client.take(1)
  for (let id = 2; id < 12; id += 1) {
    expect(await client.ask({ id, refresh: { token: 'next' } })).toMatchObject(temporary)
    await accept()
    clock.advance(10_000)
  }
})

test.each([
  ['nothing', undefined],
  ['a tenant that is a number', { user: { id: 'ada', tenant: 5 } }],
  ['a session that is null', { user: { id: 'ada', sessionId: null } }],
  ['an end that is a text', { user: { id: 'ada' }, expiresAt: '2030-01-01' }],
  ['an end that is no number', { user: { id: 'ada' }, expiresAt: Number.NaN }],
])('auth that answers with %s is a fault of auth', async (_, answer) => {
  const at = await world({ ports: { authenticate: () => Promise.resolve(answer as never) } })
  const client = await ask(at, { id: 1, connect: { token: 'x' } })
  expect(await client.next()).toMatchObject({ error: { code: 100, temporary: true } })
  expect(at.gateway.refusals.auth_failed).toBe(1)
})

test('auth that fails on the cookies of one page by a plain error refuses them after a while, and no other page', async () => {
  const clock = new ManualClock()
  const authenticate = ({ request }: Credentials) => {
    const user = String(request?.headers['cookie'])
    return user === 'bad' ? Promise.reject(new Error('malformed')) : Promise.resolve({ user: { id: user } })
  }
  const at = await world({ clock, pingIntervalMs: 600_000, ports: { authenticate, seesRequest: true } })
  const answer = async (cookie: string): Promise<unknown> => {
    const client = await RawClient.open(at.url, { cookie })
    client.send({ id: 1, connect: {} })
    return Promise.race([client.next(), client.closed])
  }
  for (let n = 0; n < 10; n += 1) {
    expect(await answer('bad')).toMatchObject(temporary)
    expect(await answer('good')).toHaveProperty('connect')
  }
  clock.advance(30_000)
  expect(await answer('bad')).toEqual({ code: 3500, reason: 'invalid token' })
  expect(await answer('good')).toHaveProperty('connect')
})

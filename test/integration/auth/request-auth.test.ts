// `auth` sees the request that opened the connection: pages are known by their cookies, without a token.
import { randomUUID } from 'node:crypto'
import { afterEach, expect, test, vi } from 'vitest'
import { WebSocket } from 'ws'
import { createClient } from '../../../src/client/index.ts'
import type { AuthQuestion } from '../../../src/index.ts'
import { serve } from '../../support/sockets.ts'
import { createWorld } from '../../support/world.ts'
import { RawClient } from '../gateway/harness.ts'
import { eventually } from '../../support/eventually.ts'

const closers: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

/** A node whose users are known by the cookie `session`; `expiresInMs` from now on. */
async function serveByCookie({ expiresInMs = Infinity }: { readonly expiresInMs?: number } = {}) {
  const asked: AuthQuestion[] = []
  const world = await createWorld({
    auth: async (question: AuthQuestion) => {
      asked.push(question)
      const user = /session=(\w+)/.exec(String(question.request.headers['cookie']))?.[1]
      if (user === undefined) return undefined
      return {
        user: { id: user },
        ...(expiresInMs === Infinity ? {} : { expiresAt: Date.now() + expiresInMs }),
      }
    },
  })
  closers.push(() => world.close())
  const served = await serve(world)
  closers.push(() => served.close())
  return { world, served, asked }
}

/** Opens a bare socket, which ends with the test. */
async function open(url: string, headers: Readonly<Record<string, string>>): Promise<RawClient> {
  const client = await RawClient.open(url, headers)
  closers.push(async () => client.socket.terminate())
  return client
}

/** A browser's socket: it sends the page's cookies with the upgrade. */
function withCookie(cookie: string) {
  return class extends WebSocket {
    constructor(url: string, protocols?: string | string[]) {
      super(url, protocols, { headers: { cookie } })
    }
  }
}

test('auth is given the headers and the address of the upgrade, and no token where none was sent', async () => {
  const { served, asked } = await serveByCookie()
  const client = await open(`${served.url}?page=7`, {
    cookie: 'session=ann',
    'x-forwarded-for': '192.0.2.7',
  })
  client.send({ id: 1, connect: {} })
  expect(await client.next()).toMatchObject({ id: 1, connect: { subs: { 'user:ann': {} } } })
  expect(asked).toEqual([
    {
      token: undefined,
      request: {
        url: '/lockstep/ws?page=7',
        headers: expect.objectContaining({ cookie: 'session=ann', 'x-forwarded-for': '192.0.2.7' }) as object,
      },
    },
  ])
})

test('auth sees the same request again when a token is refreshed', async () => {
  const { served, asked } = await serveByCookie()
  const client = await open(served.url, { cookie: 'session=ann' })
  client.send({ id: 1, connect: { token: 'first' } })
  expect(await client.next()).toMatchObject({ id: 1, connect: {} })
  client.send({ id: 2, refresh: { token: 'second' } })
  expect(await client.next()).toMatchObject({ id: 2, refresh: {} })
  expect(asked.map(({ token, request }) => [token, request.headers['cookie']])).toEqual([
    ['first', 'session=ann'],
    ['second', 'session=ann'],
  ])
})

test('a client without getToken is the user of its cookies, and calls operations', async () => {
  const { served } = await serveByCookie()
  const client = createClient({ url: served.url, websocket: withCookie('session=ann'), storage: null })
  closers.push(async () => client.close())
  const id = randomUUID()
  expect(await client.call('add_note', { room: 'r', id, text: 'hi' }).result).toEqual({ id })
})

test('a client without getToken whose cookies are nobody is refused for good, in words', async () => {
  const { served } = await serveByCookie()
  const heard: unknown[] = []
  const client = createClient({
    url: served.url,
    websocket: withCookie('theme=dark'),
    storage: null,
    onError: (error) => heard.push(error),
  })
  closers.push(async () => client.close())
  await eventually(() => expect(client.connection.state).toBe('disconnected'))
  expect(client.connection.error).toMatchObject({
    reason: 'LS_CLIENT_REFUSED',
    message: expect.stringContaining('the server does not know who asks. Is the user signed in?') as string,
  })
  expect(heard).toHaveLength(1)
})

test('a connection by cookies is given no end, since it has no token to refresh, and connects anew after it', async () => {
  const { served, asked } = await serveByCookie({ expiresInMs: 200 })
  const client = await open(served.url, { cookie: 'session=ann' })
  client.send({ id: 1, connect: {} })
  const { connect } = (await client.next()) as unknown as { readonly connect: object }
  expect(connect).not.toHaveProperty('ttl')
  expect(await client.closed).toEqual({ code: 3005, reason: 'token expired' })
  const page = createClient({ url: served.url, websocket: withCookie('session=ann'), storage: null })
  closers.push(async () => page.close())
  await vi.waitFor(() => expect(asked.length).toBeGreaterThan(2), { timeout: 20_000 })
  await eventually(() => expect(page.connection.state).toBe('connected'))
})

import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { WebSocket } from 'ws'
import { createClient, type Client, type ClientOptions } from '../../src/client/index.ts'
import { committed, FakeGateway, Queue, tokenOf } from './client-fake-gateway.ts'

let gateway: FakeGateway
const clients: Client[] = []
const errors = new Queue<unknown>()

beforeEach(async () => {
  gateway = await FakeGateway.start()
})
afterEach(async () => {
  for (const client of clients.splice(0)) client.close()
  await gateway.close()
  vi.unstubAllGlobals()
})

function connect(options: Partial<ClientOptions> = {}): Client {
  const client = createClient({
    url: gateway.url,
    getToken: () => Promise.resolve(tokenOf(gateway.user)),
    websocket: WebSocket,
    storage: null,
    minReconnectDelayMs: 1,
    maxReconnectDelayMs: 4,
    onError: (error) => errors.push(error),
    ...options,
  })
  clients.push(client)
  return client
}

function changes(client: Client): Queue<string> {
  const states = new Queue<string>()
  client.connection.on('change', (state) => states.push(state))
  return states
}

test('the connection tells its state, and why it ended', async () => {
  const client = connect({ autoConnect: false })
  expect(client.connection.state).toBe('disconnected')
  const states = changes(client)
  client.connection.connect()
  expect([await states.next(), await states.next()]).toEqual(['connecting', 'connected'])
  expect(client.connection.disconnectReason).toBeUndefined()
  const connection = await gateway.connects.next()
  connection.socket.close(3001, 'shutdown')
  expect(await states.next()).toBe('connecting')
  expect(client.connection.disconnectReason).toEqual({ code: 3001, reason: 'shutdown' })
  expect(await states.next()).toBe('connected')
  client.connection.disconnect()
  expect(client.connection).toMatchObject({ state: 'disconnected', disconnectReason: { code: 0 } })
})

test('a refusal for good ends it until connect is called; calls wait', async () => {
  const client = connect()
  const states = changes(client)
  expect(await states.next()).toBe('connected')
  ;(await gateway.connects.next()).socket.close(3500, 'invalid token')
  expect(await states.next()).toBe('disconnected')
  expect(client.connection.disconnectReason).toEqual({ code: 3500, reason: 'invalid token' })
  const call = client.call('send_message', 1)
  expect(client.pending).toMatchObject([{ state: 'queued' }])
  client.connection.connect()
  ;(await gateway.calls.next()).reply(committed(call.id))
  expect(await call.outcome).toMatchObject({ outcome: 'committed' })
})

test.each(['token', 'server'])('another user, by the %s, ends it: calls are not for them', async (source) => {
  let user = 'ann'
  const client = connect({ getToken: () => Promise.resolve(tokenOf(user)) })
  const states = changes(client)
  expect(await states.next()).toBe('connected')
  client.connection.disconnect()
  expect(await states.next()).toBe('disconnected')
  const call = client.call('send_message', 1)
  if (source === 'server') gateway.user = 'bob'
  else {
    user = 'bob'
    gateway.refusals.push(109)
  }
  client.connection.connect()
  const expected =
    source === 'server' ? ['connecting', 'connected', 'disconnected'] : ['connecting', 'disconnected']
  for (const state of expected) expect(await states.next()).toBe(state)
  expect(errors.all.at(-1)).toMatchObject({ reason: 'LS_CLIENT_USER_CHANGED' })
  client.close()
  await expect(call.outcome).rejects.toMatchObject({ reason: 'LS_CLIENT_CLOSED' })
  expect(gateway.calls.all).toEqual([])
})

test('a token that cannot be had is reported and asked for again', async () => {
  let asked = 0
  const client = connect({
    getToken: () => {
      asked += 1
      return asked === 1 ? Promise.reject(new Error('sign-in is down')) : Promise.resolve(tokenOf('ann'))
    },
  })
  expect(await changes(client).next()).toBe('connected')
  expect(errors.all.at(-1)).toMatchObject({ message: 'sign-in is down' })
  expect(gateway.tokens).toEqual([tokenOf('ann')])
})

test('a client that was closed stays so, whoever asks it to connect', async () => {
  const client = connect()
  await gateway.connects.next()
  client.close()
  client.connection.connect()
  expect(client.connection.state).toBe('disconnected')
  const waiting = connect({ autoConnect: false })
  waiting.close()
  waiting.connection.connect()
  expect(waiting.connection.state).toBe('disconnected')
})

test('a relative or http URL is read against the page, as a WebSocket URL', async () => {
  vi.stubGlobal('location', { href: `${gateway.url.replace('ws', 'http')}/app/page` })
  expect(await changes(connect({ url: '/lockstep/ws' })).next()).toBe('connected')
  expect(await changes(connect({ url: gateway.url.replace('ws', 'http') })).next()).toBe('connected')
  vi.unstubAllGlobals()
  expect(() => connect({ url: '/lockstep/ws' })).toThrow(/not a URL/)
})

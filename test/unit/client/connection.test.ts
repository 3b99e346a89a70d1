import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { Client } from '../../../src/client/index.ts'
import { ClientWorld } from './client-world.ts'
import { committed, MemoryStorage, Queue, tokenOf } from './fake-gateway.ts'
import { eventually } from '../../support/eventually.ts'

let world: ClientWorld
let gateway: ClientWorld['gateway']
let errors: ClientWorld['errors']
let connect: ClientWorld['connect']

beforeEach(async () => {
  world = await ClientWorld.open()
  ;({ gateway, errors, connect } = world)
})
afterEach(async () => {
  await world.close()
  vi.unstubAllGlobals()
})

function changes(client: Client): Queue<string> {
  const states = new Queue<string>()
  client.connection.on('change', (state) => states.push(state))
  return states
}

test('the connection shows its state, and why it ended', async () => {
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

test('a refusal for good settles every call, with why; connect begins anew', async () => {
  const client = connect()
  const states = changes(client)
  const reported = new Queue<unknown>()
  client.connection.on('error', (error) => reported.push(error))
  expect(await states.next()).toBe('connected')
  const sent = client.call('send_message', 0)
  sent.outcome.catch(() => {})
  await gateway.calls.next()
  ;(await gateway.connects.next()).socket.close(3500, 'invalid token')
  expect(await states.next()).toBe('disconnected')
  expect(client.connection.disconnectReason).toEqual({ code: 3500, reason: 'invalid token' })
  const refused = { reason: 'LS_CLIENT_REFUSED', retryable: false }
  expect(client.connection.error).toMatchObject(refused)
  expect(await reported.next()).toBe(client.connection.error)
  await expect(client.call('send_message', 1).outcome).rejects.toMatchObject(refused)
  await expect(client.query('list')).rejects.toMatchObject(refused)
  await expect(client.channel('room:1').ready()).rejects.toMatchObject(refused)
  // A call that was sent may have arrived: its caller is told so, and the client still asks for its outcome.
  await expect(sent.outcome).rejects.toMatchObject({ reason: 'LS_CLIENT_OUTCOME_UNKNOWN', cause: refused })
  expect(client.pending).toMatchObject([{ id: sent.id, state: 'unknown' }])
  const settled = new Queue<unknown>()
  client.operations.on('settled', (_operation, outcome) => settled.push(outcome))
  gateway.onRpc = (method) =>
    method === 'lockstep.outcomes' ? { data: { outcomes: [committed(sent.id).data] } } : undefined
  client.connection.connect()
  expect(await settled.next()).toMatchObject({ outcome: 'committed', operationId: sent.id })
  expect([client.connection.error, client.pending]).toEqual([undefined, []])
  const again = client.call('send_message', 2)
  ;(await gateway.calls.next()).reply(committed(again.id))
  expect(await again.outcome).toMatchObject({ outcome: 'committed' })
  expect(reported.all).toHaveLength(1)
})

test.each(['change', 'error'] as const)('a listener of %s may connect at once: it goes on', async (event) => {
  const before = errors.all.length
  const client = connect()
  const call = client.call('send_message', 1)
  client.connection.on(event as 'change', () => {
    if (client.connection.state === 'disconnected') client.connection.connect()
  })
  gateway.onRpc = (method) =>
    method === 'lockstep.outcomes' ? { data: { outcomes: [committed(call.id).data] } } : undefined
  await gateway.calls.next()
  call.outcome.catch(() => {})
  ;(await gateway.connects.next()).socket.close(3500, 'invalid token')
  await gateway.connects.next()
  await eventually(() => expect(client.pending).toEqual([]))
  expect(client.connection).toMatchObject({ state: 'connected', error: undefined })
  // `onError` is called before a listener of errors can connect again; a listener of states connects before that, and
  // leaves no error to report.
  expect(errors.all.length - before).toBe(event === 'error' ? 1 : 0)
})

test('calls wait for a connection as long as they are allowed to, and then reject without effect', async () => {
  const storage = new MemoryStorage()
  const client = connect({ autoConnect: false, storage, user: 'ann', waitForConnectionMs: 20 })
  const early = client.call('send_message', 1)
  const ready = client.channel('room:1').ready()
  await expect(early.outcome).rejects.toMatchObject({ reason: 'LS_CLIENT_DISCONNECTED', retryable: true })
  await expect(ready).rejects.toMatchObject({ reason: 'LS_CLIENT_DISCONNECTED' })
  expect([client.pending, storage.length]).toEqual([[], 0])
  const states = changes(client)
  client.connection.connect()
  while ((await states.next()) !== 'connected');
  const late = client.call('send_message', 2)
  const sent = await gateway.calls.next()
  expect(sent.data).toMatchObject({ id: late.id })
  sent.reply(committed(late.id))
  expect(await late.outcome).toMatchObject({ outcome: 'committed' })
})

test('a reply that was lost is waited for as long, and its operation kept for the next page', async () => {
  const storage = new MemoryStorage()
  const client = connect({ storage, waitForConnectionMs: 20 })
  const states = changes(client)
  while ((await states.next()) !== 'connected');
  const call = client.call('send_message', 1)
  await gateway.calls.next()
  await gateway.close()
  await expect(call.outcome).rejects.toMatchObject({ reason: 'LS_CLIENT_OUTCOME_UNKNOWN' })
  expect(client.pending).toMatchObject([{ id: call.id, state: 'unknown' }])
  expect([...storage.map.keys()].some((key) => key.includes(call.id))).toBe(true)
})

test('one problem is reported once, however often it is tried again, and anew after a connection', async () => {
  const reported = new Queue<unknown>()
  let fails = true
  let asked = 0
  const client = connect({
    autoConnect: false,
    getToken: () => {
      asked += 1
      return fails && asked % 8 !== 0 ? Promise.reject(new Error('down')) : Promise.resolve(tokenOf('ann'))
    },
  })
  client.connection.on('error', (error) => reported.push(error))
  const states = changes(client)
  client.connection.connect()
  while ((await states.next()) !== 'connected');
  expect([asked, reported.all.length]).toEqual([8, 1])
  expect(reported.all[0]).toMatchObject({ reason: 'LS_CLIENT_UNREACHABLE', retryable: true })
  gateway.refusals.push(109)
  gateway.cut()
  while ((await states.next()) !== 'connected');
  expect([asked, reported.all.length]).toEqual([16, 2])
  fails = false
})

test.each(['token', 'server'])('another user, by the %s, ends it: calls are not for them', async (source) => {
  let user = 'ann'
  const client = connect({ getToken: () => Promise.resolve(tokenOf(user)) })
  const states = changes(client)
  expect(await states.next()).toBe('connected')
  client.connection.disconnect()
  expect(await states.next()).toBe('disconnected')
  const call = client.call('send_message', 1)
  call.outcome.catch(() => {})
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
  await expect(call.outcome).rejects.toMatchObject({ reason: 'LS_CLIENT_USER_CHANGED' })
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
  expect(errors.all.at(-1)).toMatchObject({
    message: `no connection to ${gateway.url}/: getToken failed: sign-in is down. Trying again.`,
    cause: { message: 'sign-in is down' },
  })
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

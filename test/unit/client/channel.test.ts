import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { createClient, type Client } from '../../../src/client/index.ts'
import type { StreamPosition } from '../../../src/protocol/index.ts'
import { envelope, epoch, FakeGateway, Queue, tokenOf } from './fake-gateway.ts'

let gateway: FakeGateway
let client: Client
const errors: unknown[] = []
const lobby = 'conversation:lobby'

beforeEach(async () => {
  errors.length = 0
  gateway = await FakeGateway.start()
  client = createClient({
    url: gateway.url,
    getToken: () => Promise.resolve(tokenOf('ann')),
    websocket: WebSocket,
    storage: null,
    minReconnectDelayMs: 1,
    maxReconnectDelayMs: 4,
    onError: (error) => errors.push(error),
  })
})
afterEach(async () => {
  client.close()
  await gateway.close()
})

const pub = (offset: number) => ({ offset, data: envelope('message.created', offset) })

test('events reach the listeners of their type and of all, with their facts', async () => {
  const channel = client.channel(lobby)
  const seen = new Queue<unknown>()
  const all: string[] = []
  channel.on('message.created', (data, event) => seen.push([data, event]))
  channel.on('*', (_, event) => all.push(event.type))
  expect(channel.state).toBe('subscribing')
  await channel.ready()
  expect(channel.state).toBe('subscribed')
  const connection = await gateway.connects.next()
  connection.publish(lobby, 1, envelope('other', 0))
  connection.publish(lobby, 2, envelope('message.created', { text: 'hi' }))
  expect(await seen.next()).toEqual([
    { text: 'hi' },
    {
      channel: lobby,
      type: 'message.created',
      data: { text: 'hi' },
      operationId: 'op',
      at: '2026-01-01T00:00:00.000Z',
      offset: 2,
      committed: true,
    },
  ])
  expect(all).toEqual(['other', 'message.created'])
})

test('an event without an offset is marked as not committed, and has no place in the order', async () => {
  const channel = client.channel(lobby)
  const seen = new Queue<unknown>()
  channel.on('*', (_, { committed, offset }) => seen.push({ committed, offset }))
  await channel.ready()
  const connection = await gateway.connects.next()
  connection.publish(lobby, undefined, envelope('token', 'a', { committed: false }))
  connection.publish(lobby, 1, envelope('message.created', 'a'))
  expect(await seen.next()).toEqual({ committed: false, offset: undefined })
  expect(await seen.next()).toEqual({ committed: true, offset: 1 })
})

test('a listener that throws is reported and stops neither the others nor the connection', async () => {
  const channel = client.channel(lobby)
  const seen = new Queue<unknown>()
  channel.on('message.created', () => {
    throw new Error('mine')
  })
  channel.on('message.created', () => seen.push('removed'))()
  channel.on('message.created', (data) => seen.push(data))
  await channel.ready()
  const connection = await gateway.connects.next()
  connection.publish(lobby, 1, envelope('message.created', 1))
  connection.publish(lobby, 2, 'not an event')
  connection.publish(lobby, 3, envelope('message.created', 3))
  expect([await seen.next(), await seen.next()]).toEqual([1, 3])
  expect(errors).toMatchObject([
    { message: 'mine' },
    { reason: 'LS_CLIENT_EVENT_MALFORMED' },
    { message: 'mine' },
  ])
  expect(client.connection.state).toBe('connected')
})

describe('continuity', () => {
  test('an event that comes twice is delivered once', async () => {
    const channel = client.channel(lobby)
    const seen = new Queue<unknown>()
    channel.on('*', (data) => seen.push(data))
    await channel.ready()
    const connection = await gateway.connects.next()
    for (const offset of [1, 2, 1, 2, 3]) connection.publish(lobby, offset, pub(offset).data)
    expect([await seen.next(), await seen.next(), await seen.next()]).toEqual([1, 2, 3])
  })

  test('a hole is filled from the last event before it, in order', async () => {
    const channel = client.channel(lobby)
    const seen = new Queue<unknown>()
    channel.on('*', (data) => seen.push(data))
    await channel.ready()
    await gateway.subscribes.next()
    const normal = gateway.onSubscribe
    gateway.onSubscribe = (request) => ({ ...normal(request), publications: [2, 3, 4].map(pub) })
    const connection = await gateway.connects.next()
    connection.publish(lobby, 1, pub(1).data)
    connection.publish(lobby, 4, pub(4).data)
    expect(await gateway.subscribes.next()).toMatchObject({ recover: true, offset: 1, epoch })
    expect(gateway.unsubscribes.all).toEqual([lobby])
    const got = [await seen.next(), await seen.next(), await seen.next(), await seen.next()]
    expect(got).toEqual([1, 2, 3, 4])
  })

  test('a hole that the server cannot fill is reported, and events go on', async () => {
    const channel = client.channel(lobby)
    const seen = new Queue<unknown>()
    channel.on('*', (data) => seen.push(data))
    channel.onReset(() => seen.push('reset'))
    await channel.ready()
    await gateway.subscribes.next()
    const connection = await gateway.connects.next()
    connection.publish(lobby, 1, pub(1).data)
    connection.publish(lobby, 4, pub(4).data)
    await gateway.subscribes.next()
    connection.publish(lobby, 5, pub(5).data)
    connection.publish(lobby, 6, pub(6).data)
    expect([await seen.next(), await seen.next(), await seen.next(), await seen.next()]).toEqual([
      1,
      'reset',
      5,
      6,
    ])
  })

  test('a reconnect recovers from the last event, and says when that is no longer possible', async () => {
    const channel = client.channel(lobby)
    const seen = new Queue<unknown>()
    channel.on('*', (data) => seen.push(data))
    channel.onReset(() => seen.push('reset'))
    await channel.ready()
    await gateway.subscribes.next()
    ;(await gateway.connects.next()).publish(lobby, 1, pub(1).data)
    expect(await seen.next()).toBe(1)
    const normal = gateway.onSubscribe
    gateway.onSubscribe = (request) => ({ ...normal(request), publications: [pub(2)] })
    gateway.cut()
    expect(await seen.next()).toBe(2)
    expect(await gateway.subscribes.next()).toMatchObject({ recover: true, offset: 1 })
    gateway.onSubscribe = () => ({
      recoverable: true,
      positioned: true,
      epoch: 'e2',
      offset: 40,
      was_recovering: true,
    })
    gateway.cut()
    expect(await seen.next()).toBe('reset')
    await channel.ready()
    gateway.onSubscribe = normal
    await gateway.connects.next()
    ;(await gateway.connects.next()).publish(lobby, 41, pub(41).data)
    expect(await seen.next()).toBe(41)
  })

  test('events missed with nobody listening for it are an error', async () => {
    const channel = client.channel(lobby, { since: { offset: 3, epoch: 'old' } })
    gateway.onSubscribe = () => ({
      recoverable: true,
      positioned: true,
      epoch,
      offset: 9,
      was_recovering: true,
    })
    await channel.ready()
    expect(await gateway.subscribes.next()).toMatchObject({ recover: true, offset: 3, epoch: 'old' })
    expect(errors).toMatchObject([{ reason: 'LS_CLIENT_EVENTS_MISSED' }])
  })
})

describe('getState', () => {
  test('that the server refuses for good ends the channel, and is not called again', async () => {
    gateway.onRpc = () => ({ error: { code: 403, message: 'LS_FORBIDDEN: You may not do this.' } })
    let calls = 0
    const channel = client.channel(lobby, {
      getState: () => {
        calls += 1
        return client.query('list_messages', {}) as Promise<StreamPosition>
      },
    })
    await expect(channel.ready()).rejects.toMatchObject({
      code: 403,
      reason: 'LS_FORBIDDEN',
      message: 'You may not do this.',
    })
    expect(channel).toMatchObject({ state: 'unsubscribed', error: { reason: 'LS_FORBIDDEN' } })
    // Wait longer than the package's longest pause, by the answers to questions asked in between.
    for (let n = 0; n < 20; n += 1) await client.query('ping', n).catch(() => undefined)
    expect(calls).toBe(1)
  })

  test('is called before the first event, and again when the server cannot recover', async () => {
    const states: StreamPosition[] = [
      { offset: 5, epoch },
      { offset: 30, epoch: 'e2' },
    ]
    const seen = new Queue<unknown>()
    let loads = 0
    const getState = (): Promise<StreamPosition> => {
      seen.push('load')
      loads += 1
      return Promise.resolve(states[loads - 1] ?? { offset: 0, epoch })
    }
    const normal = gateway.onSubscribe
    gateway.onSubscribe = (request) =>
      request.epoch === epoch && loads > 1
        ? { error: { code: 112, message: 'unrecoverable position' } }
        : { ...normal(request), publications: [pub((request.offset ?? 0) + 1)] }
    const channel = client.channel(lobby, { getState })
    channel.on('*', (data) => seen.push(data))
    channel.onReset(() => seen.push('reset'))
    expect([await seen.next(), await seen.next()]).toEqual(['load', 6])
    expect(await gateway.subscribes.next()).toMatchObject({ recover: true, offset: 5, epoch, flag: 3 })
    gateway.onSubscribe = (request) =>
      request.epoch === epoch
        ? { error: { code: 112, message: 'unrecoverable position' } }
        : { ...normal(request), epoch: 'e2', publications: [pub(31)] }
    gateway.cut()
    expect([await seen.next(), await seen.next(), await seen.next()]).toEqual(['reset', 'load', 31])
  })

  test('that fails is reported and tried again', async () => {
    let loads = 0
    const channel = client.channel(lobby, {
      getState: () => {
        loads += 1
        return loads === 1 ? Promise.reject(new Error('offline')) : Promise.resolve({ offset: 0, epoch })
      },
    })
    let resets = 0
    channel.onReset(() => (resets += 1))
    await channel.ready()
    expect(loads).toBe(2)
    expect(resets).toBe(0)
    expect(errors).toMatchObject([{ message: 'offline' }])
  })

  test('is called again after a hole that cannot be filled', async () => {
    const seen = new Queue<unknown>()
    let top = 0
    const channel = client.channel(lobby, {
      getState: () => {
        seen.push(`load ${top}`)
        return Promise.resolve({ offset: top, epoch })
      },
    })
    channel.on('*', (data) => seen.push(data))
    await channel.ready()
    expect(await seen.next()).toBe('load 0')
    await gateway.subscribes.next()
    const connection = await gateway.connects.next()
    top = 5
    connection.publish(lobby, 5, pub(5).data)
    expect(await gateway.subscribes.next()).toMatchObject({ recover: true, epoch })
    connection.publish(lobby, 5, pub(5).data)
    expect(await seen.next()).toBe('load 5')
    await channel.ready()
    connection.publish(lobby, 6, pub(6).data)
    expect(await seen.next()).toBe(6)
  })
})

describe('handles', () => {
  test('of one channel share a subscription, which ends with the last of them', async () => {
    const first = client.channel(lobby)
    const second = client.channel(lobby)
    await Promise.all([first.ready(), second.ready()])
    const seen = new Queue<unknown>()
    first.on('*', () => seen.push('first'))
    second.on('*', () => seen.push('second'))
    first.close()
    const connection = await gateway.connects.next()
    connection.publish(lobby, 1, pub(1).data)
    expect(await seen.next()).toBe('second')
    expect(gateway.subscribes.all).toHaveLength(1)
    expect(() => client.channel(lobby, { since: { offset: 0, epoch } })).toThrow(/open already/)
    second.close()
    expect(await gateway.unsubscribes.next()).toBe(lobby)
    const third = client.channel(lobby, { since: { offset: 1, epoch } })
    await third.ready()
    expect(gateway.subscribes.all).toHaveLength(2)
  })

  test('of a channel the user may not join say so, and asking again is another try', async () => {
    const normal = gateway.onSubscribe
    gateway.onSubscribe = () => ({ error: { code: 103, message: 'LS_CHANNEL_FORBIDDEN' } })
    const channel = client.channel(lobby)
    const states: string[] = []
    channel.onChange((state) => states.push(state))
    await expect(channel.ready()).rejects.toMatchObject({ code: 103, reason: 'LS_CHANNEL_FORBIDDEN' })
    expect(channel).toMatchObject({ state: 'unsubscribed', error: { code: 103 } })
    gateway.onSubscribe = normal
    await client.channel(lobby).ready()
    expect(channel).toMatchObject({ state: 'subscribed', error: undefined })
    expect(states).toEqual(['unsubscribed', 'subscribing', 'subscribed'])
  })

  test('of a closed client cannot be had, and waiting for one ends', async () => {
    gateway.onSubscribe = () => ({ error: { code: 100, message: 'later' } })
    const ready = client.channel(lobby).ready()
    client.close()
    await expect(ready).rejects.toMatchObject({ reason: 'LS_CLIENT_CLOSED' })
    expect(() => client.channel(lobby)).toThrow(/closed/)
  })
})

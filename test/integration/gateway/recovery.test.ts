// The official SDK, unmodified, against the gateway.
import { Centrifuge, type PublicationContext, type SubscribedContext, type Subscription } from 'centrifuge'
import { SignJWT } from 'jose'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { RawClient, secret, signal, startWorld, token, type World } from './harness.ts'

let world: World
let clients: Centrifuge[]
beforeEach(async () => {
  world = await startWorld()
  clients = []
})
afterEach(async () => {
  for (const client of clients) client.disconnect()
  await world.stop()
})

function sdk(userId: string, ttlSeconds?: number): Centrifuge {
  const client = new Centrifuge(world.url, {
    websocket: WebSocket,
    getToken: () => token(userId, ttlSeconds),
    minReconnectDelay: 1,
    maxReconnectDelay: 5,
  })
  client.on('error', () => {})
  clients.push(client)
  return client
}

/** Collects what a subscription's handler sees, and lets a test wait for it. */
class Inbox {
  readonly seen: PublicationContext[] = []
  readonly subscribed: SubscribedContext[] = []
  #watchers: (() => void)[] = []

  constructor(source: Subscription | Centrifuge, channel?: string) {
    // A subscription and a client both emit these two events, but TypeScript cannot unite their overloads.
    const emitter = source as Subscription
    emitter.on('publication', (context: PublicationContext) => {
      if (channel === undefined || context.channel === channel) this.seen.push(context)
      this.#changed()
    })
    emitter.on('subscribed', (context: SubscribedContext) => {
      this.subscribed.push(context)
      this.#changed()
    })
  }

  get offsets(): (number | undefined)[] {
    return this.seen.map((context) => context.offset)
  }

  async until(met: (inbox: this) => boolean): Promise<void> {
    while (!met(this)) await new Promise<void>((resolve) => this.#watchers.push(resolve))
  }

  #changed(): void {
    for (const watcher of this.#watchers.splice(0)) watcher()
  }
}

test('connects, subscribes, receives and calls', async () => {
  const client = sdk('ann')
  const subscription = client.newSubscription('room:1')
  const inbox = new Inbox(subscription)
  subscription.subscribe()
  client.connect()
  await inbox.until(({ subscribed }) => subscribed.length === 1)
  world.events.append('room:1', { text: 'hello' })
  await inbox.until(({ seen }) => seen.length === 1)
  expect(inbox.seen[0]).toMatchObject({ offset: 1, data: { type: 'note', data: { text: 'hello' } } })
  expect(await client.rpc('echo', { a: [1, 'ü'] })).toEqual({ data: { a: [1, 'ü'] } })
  await expect(client.rpc('nope', {})).rejects.toMatchObject({ code: 104 })
  await expect(client.publish('room:1', {})).rejects.toMatchObject({ code: 103 })
})

test('recovers everything that was missed, once and in order, on both kinds of channel', async () => {
  const client = sdk('ann')
  const subscription = client.newSubscription('room:1')
  const room = new Inbox(subscription)
  const own = new Inbox(client, 'user:ann')
  subscription.subscribe()
  client.connect()
  await room.until(({ subscribed }) => subscribed.length === 1)
  world.events.append('room:1', 1)
  world.events.append('user:ann', 1)
  await room.until(({ seen }) => seen.length === 1)
  await own.until(({ seen }) => seen.length === 1)
  for (let round = 2; round <= 4; round += 1) {
    world.cut()
    world.events.append('room:1', round)
    world.events.append('user:ann', round)
    await room.until(({ subscribed }) => subscribed.length === round)
    world.events.append('room:1', 'live')
    await room.until(({ seen }) => seen.length === 2 * round - 1)
    await own.until(({ seen }) => seen.length === round)
    expect(room.subscribed.at(-1)).toMatchObject({ wasRecovering: true, recovered: true, recoverable: true })
    expect(own.subscribed.at(-1)).toMatchObject({ channel: 'user:ann', wasRecovering: true, recovered: true })
  }
  expect(room.offsets).toEqual([1, 2, 3, 4, 5, 6, 7])
  expect(own.offsets).toEqual([1, 2, 3, 4])
})

test('gets a plain answer when it cannot recover, and goes on from the top', async () => {
  const client = sdk('ann')
  const subscription = client.newSubscription('room:1')
  const inbox = new Inbox(subscription)
  subscription.subscribe()
  client.connect()
  await inbox.until(({ subscribed }) => subscribed.length === 1)
  world.events.epoch = 'e2'
  world.events.append('room:1', 'unseen')
  world.cut()
  await inbox.until(({ subscribed }) => subscribed.length === 2)
  expect(inbox.subscribed[1]).toMatchObject({
    wasRecovering: true,
    recovered: false,
    streamPosition: { offset: 1, epoch: 'e2' },
  })
  world.events.append('room:1', 'next')
  await inbox.until(({ seen }) => seen.at(-1)?.offset === 2)
})

test('a reset makes it subscribe again with recovery', async () => {
  const client = sdk('ann')
  const subscription = client.newSubscription('room:1')
  const inbox = new Inbox(subscription)
  subscription.subscribe()
  client.connect()
  await inbox.until(({ subscribed }) => subscribed.length === 1)
  world.events.append('room:1', 1)
  await inbox.until(({ seen }) => seen.length === 1)
  world.events.reset('room:1')
  world.events.append('room:1', 2)
  await inbox.until(({ subscribed, seen }) => subscribed.length === 2 && seen.length === 2)
  expect(inbox.offsets).toEqual([1, 2])
})

test('a position the log cannot honour makes getState load the snapshot again', async () => {
  for (let n = 0; n < 3; n += 1) world.events.append('room:1', n)
  world.events.trimmedTo = 2
  const positions = [
    { offset: 1, epoch: 'e1' },
    { offset: 3, epoch: 'e1' },
  ]
  let loads = 0
  const client = sdk('ann')
  const subscription = client.newSubscription('room:1', {
    minResubscribeDelay: 1,
    maxResubscribeDelay: 2,
    getState: async () => positions[loads++] ?? { offset: 3, epoch: 'e1' },
  })
  const inbox = new Inbox(subscription)
  subscription.subscribe()
  client.connect()
  await inbox.until(({ subscribed }) => subscribed.length === 1)
  expect(loads).toBe(2)
})

test('an expired token is renewed while connecting, and a live connection refreshes', async () => {
  const lifetimes = [-10, 2]
  const renewed = signal()
  const client = new Centrifuge(world.url, {
    websocket: WebSocket,
    getToken: () => {
      if (lifetimes.length === 0) renewed.fire()
      return token('ann', lifetimes.shift() ?? 3_600)
    },
    minReconnectDelay: 1,
    maxReconnectDelay: 5,
  })
  clients.push(client)
  client.on('error', () => {})
  const own = new Inbox(client)
  client.connect()
  await own.until(({ subscribed }) => subscribed.length === 1)
  expect(lifetimes).toEqual([])
  // The refresh comes when the ttl has passed.
  await renewed.promise
  await client.rpc('echo', 'still here')
  expect(own.subscribed).toHaveLength(1)
})

test('a page with more channels than are allowed keeps those that fit, and hears that the others do not', async () => {
  const client = sdk('ann')
  const codes = new Map<string, number>()
  const [allowed, refused] = [new Set<string>(), signal()]
  // The SDK joins them all in one message, right behind its connect.
  for (let n = 0; n < 300; n += 1) {
    const subscription = client.newSubscription(`room:${n}`, {
      minResubscribeDelay: 1,
      maxResubscribeDelay: 5,
    })
    subscription.on('subscribed', ({ channel }) => allowed.add(channel))
    subscription.on('unsubscribed', ({ channel, code }) => {
      codes.set(channel, code)
      if (codes.size === 300 - 127) refused.fire()
    })
    subscription.subscribe()
  }
  const reconnects: unknown[] = []
  client.on('disconnected', (context) => reconnects.push(context))
  client.connect()
  await refused.promise
  expect([...new Set(codes.values())]).toEqual([106])
  expect(allowed.size).toBe(127)
  expect(reconnects).toEqual([])
  expect(client.state).toBe('connected')
})

test('a token that is not good ends the client for good', async () => {
  const client = new Centrifuge(world.url, { websocket: WebSocket, token: 'not.a.token' })
  clients.push(client)
  client.on('error', () => {})
  const ended = new Promise((resolve) => client.on('disconnected', resolve))
  client.connect()
  expect(await ended).toEqual({ code: 3500, reason: 'invalid token' })
})

test.each([
  ['65 levels', `${'['.repeat(65)}${']'.repeat(65)}`, 400],
  ['5,000 keys', JSON.stringify(Object.fromEntries(Array.from({ length: 5_000 }, (_, n) => [n, n]))), 400],
  ['64 KiB and more', JSON.stringify('x'.repeat(70_000)), 106],
])('an input with %s ends no SDK: its call is refused, the next one answered', async (_name, input, code) => {
  const client = sdk('ann')
  const ends: unknown[] = []
  client.on('disconnected', (context) => ends.push(context))
  client.on('connecting', ({ code: why }) => why > 0 && ends.push(why))
  client.connect()
  await client.ready()
  await expect(client.rpc('echo', JSON.parse(input))).rejects.toMatchObject({ code })
  expect((await client.rpc('echo', 1)).data).toBe(1)
  expect(ends).toEqual([])
})

test('an input with keys that name a prototype ends no SDK: it is carried as it is', async () => {
  const client = sdk('ann')
  const ends: unknown[] = []
  client.on('disconnected', (context) => ends.push(context))
  client.connect()
  const input = '{"__proto__":{"a":1},"constructor":1,"prototype":2}'
  expect(JSON.stringify((await client.rpc('echo', JSON.parse(input))).data)).toBe(input)
  expect(ends).toEqual([])
})

test('a page that joins 500 channels of long names at once is not closed for it', async () => {
  const client = sdk('ann')
  const ends: unknown[] = []
  client.on('disconnected', (context) => ends.push(context))
  const allDone = signal()
  let done = 0
  for (let n = 0; n < 500; n += 1) {
    const subscription = client.newSubscription(`room:${'x'.repeat(200)}${n}`)
    const end = (): void => {
      done += 1
      if (done === 500) allDone.fire()
    }
    subscription.on('subscribed', end)
    subscription.on('unsubscribed', end)
    subscription.subscribe()
  }
  client.connect()
  await allDone.promise
  expect([client.state, ends]).toEqual(['connected', []])
})

test('a refresh with a token that has just expired makes the SDK ask for another one', async () => {
  const tokens = [await token('ann', 2), await token('ann', -1), await token('ann', 600)]
  const given: string[] = []
  const client = new Centrifuge(world.url, {
    websocket: WebSocket,
    getToken: async () => {
      const next = tokens[Math.min(given.length, 2)] ?? ''
      given.push(next)
      return next
    },
    minReconnectDelay: 1,
    maxReconnectDelay: 5,
  })
  clients.push(client)
  client.on('error', () => {})
  const codes: number[] = []
  client.on('connecting', ({ code }) => codes.push(code))
  const ended: unknown[] = []
  const again = new Promise<void>((resolve) => {
    client.on('connected', () => {
      if (given.length === 3) resolve()
    })
    client.on('disconnected', (context) => {
      ended.push(context)
      resolve()
    })
  })
  client.connect()
  await again
  expect(ended).toEqual([])
  expect(codes).toContain(3005)
  expect((await client.rpc('echo', 1)).data).toBe(1)
})

test('a token that is good in a while gets in then, with the SDK as it is', async () => {
  const early = await new SignJWT({ sub: 'ann', nbf: Math.floor(Date.now() / 1_000) + 7 })
    .setProtectedHeader({ alg: 'HS256' })
    .sign(new TextEncoder().encode(secret))
  const client = new Centrifuge(world.url, {
    websocket: WebSocket,
    token: early,
    minReconnectDelay: 50,
    maxReconnectDelay: 100,
  })
  clients.push(client)
  const refusals: number[] = []
  client.on('error', ({ error }) => refusals.push(error.code))
  client.connect()
  await client.ready()
  expect(new Set(refusals)).toEqual(new Set([407]))
})

test.each([
  ['from the start of the stream', { recover: true, epoch: 'e1' }, { offsets: [1, 2, 3], offset: undefined }],
  ['from the middle', { recover: true, offset: 2, epoch: 'e1' }, { offsets: [3], offset: 2 }],
  ['from the top', { recover: true, offset: 3, epoch: 'e1' }, { offsets: undefined, offset: 3 }],
])('the reply to a recovery %s', async (_name, asked, { offsets, offset }) => {
  for (let n = 0; n < 3; n += 1) world.events.append('room:1', n)
  const client = await RawClient.connect(world, 'ann')
  const frame = (await client.ask({ id: 2, subscribe: { channel: 'room:1', ...asked } })) as {
    subscribe: { offset?: number; publications?: { offset: number }[] }
  }
  expect(frame.subscribe).toMatchObject({
    recoverable: true,
    positioned: true,
    epoch: 'e1',
    was_recovering: true,
    recovered: true,
  })
  expect(frame.subscribe.offset).toBe(offset)
  expect(frame.subscribe.publications?.map((publication) => publication.offset)).toEqual(offsets)
})

test.each([
  ['another epoch', { offset: 2, epoch: 'e0' }],
  ['a future offset', { offset: 99, epoch: 'e1' }],
  ['the largest offset', { offset: Number.MAX_SAFE_INTEGER, epoch: 'e1' }],
])('unrecoverable: %s', async (_name, position) => {
  for (let n = 0; n < 3; n += 1) world.events.append('room:1', n)
  const client = await RawClient.connect(world, 'ann')
  const asked = { channel: 'room:1', recover: true, ...position }
  expect(await client.ask({ id: 2, subscribe: { ...asked, flag: 3 } })).toEqual({
    id: 2,
    error: {
      code: 112,
      message:
        'LS_POSITION_UNRECOVERABLE: Events after this position are no longer kept. Reload, and go on from there.',
    },
  })
  expect(await client.ask({ id: 3, subscribe: { ...asked, flag: 1 } })).toEqual({
    id: 3,
    subscribe: { recoverable: true, positioned: true, epoch: 'e1', offset: 3, was_recovering: true },
  })
})

test('a recovery is as large as its bytes, whatever it is written in', async () => {
  for (let n = 0; n < 30; n += 1) world.events.append('room:1', '語'.repeat(8_000))
  const client = await RawClient.connect(world, 'ann')
  const frame = await client.ask({ id: 2, subscribe: { channel: 'room:1', recover: true, epoch: 'e1' } })
  expect(frame).toMatchObject({ subscribe: { was_recovering: true, offset: 30 } })
  expect(JSON.stringify(frame).length).toBeLessThan(300)
})

test('a recovery too large for the queue is answered as unrecoverable, not with a close', async () => {
  for (let n = 0; n < 30; n += 1) world.events.append('room:1', 'x'.repeat(20_000))
  const client = await RawClient.connect(world, 'ann')
  const frame = await client.ask({ id: 2, subscribe: { channel: 'room:1', recover: true, epoch: 'e1' } })
  expect(frame).toMatchObject({ subscribe: { was_recovering: true, offset: 30 } })
  expect(JSON.stringify(frame).length).toBeLessThan(300)
})

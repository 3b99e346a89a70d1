import { once } from 'node:events'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { LockstepError } from '../../../src/core/index.ts'
import { RawClient, signal, startWorld, token, type World } from './harness.ts'

let world: World
beforeEach(async () => {
  world = await startWorld()
})
afterEach(() => world.stop())

describe('connect', () => {
  test('answers with the client, the ping and the user channel', async () => {
    const client = await RawClient.open(world.url)
    const frame = await client.ask({
      id: 1,
      connect: { token: await token('ann'), name: 'js', data: { a: 1 } },
    })
    expect(frame).toEqual({
      id: 1,
      connect: {
        client: expect.stringMatching(/^[0-9a-f-]{36}$/) as string,
        version: 'lockstep',
        expires: true,
        ttl: expect.any(Number) as number,
        ping: 25,
        pong: true,
        subs: { 'user:ann': { recoverable: true, positioned: true, epoch: 'e1' } },
      },
    })
  })

  test('answers what was sent along, in order and after it', async () => {
    const client = await RawClient.open(world.url)
    client.send(
      { id: 1, connect: { token: await token('ann') } },
      { id: 2, subscribe: { channel: 'room:1', flag: 1 } },
      { id: 3, subscribe: { channel: 'room:2', flag: 1 } },
    )
    expect((await client.take(3)).map((frame) => frame.id)).toEqual([1, 2, 3])
  })

  test('holds back what arrives while the token is looked at', async () => {
    const gate = signal()
    const slow = await startWorld({
      ports: { authenticate: async () => gate.promise.then(() => ({ user: { id: 'ann' } })) },
    })
    const client = await RawClient.open(slow.url)
    client.send({ id: 1, connect: { token: 'x' } })
    client.send({ id: 2, rpc: { method: 'echo', data: 'held' } })
    gate.fire()
    expect(await client.take(2)).toMatchObject([{ id: 1 }, { id: 2, rpc: { data: 'held' } }])
    await slow.stop()
  })

  test('may end in a newline', async () => {
    const client = await RawClient.open(world.url)
    client.send(`${JSON.stringify({ id: 1, connect: { token: await token('ann') } })}\n`)
    expect(await client.next()).toMatchObject({ id: 1, connect: {} })
    await client.settled()
  })

  test('what arrives while the token is looked at is as many messages as were sent', async () => {
    const gate = signal()
    const slow = await startWorld({
      ports: { authenticate: async () => gate.promise.then(() => ({ user: { id: 'ann' } })) },
    })
    const client = await RawClient.open(slow.url)
    client.send({ id: 1, connect: { token: 'x' } })
    for (const first of [2, 102, 202]) {
      client.send(...Array.from({ length: 100 }, (_, n) => ({ id: first + n, ping: {} })))
    }
    client.socket.ping()
    await once(client.socket, 'pong')
    const read = Promise.race([client.take(301), client.closed])
    gate.fire()
    expect(await read).toHaveLength(301)
    await slow.stop()
  })

  test('an expired token is answered with 109, and what came along is passed over', async () => {
    const client = await RawClient.open(world.url)
    client.send(
      { id: 1, connect: { token: await token('ann', -10) } },
      { id: 2, subscribe: { channel: 'room:1' } },
    )
    expect(await client.next()).toEqual({
      id: 1,
      error: { code: 109, message: 'LS_TOKEN_EXPIRED: The token has expired. Send a new one.' },
    })
    client.send({ id: 3, ping: {} })
    client.socket.close()
    await client.closed
    expect(client.messages).toHaveLength(1)
  })

  test('a fault of the key source is temporary, and its text stays in the log', async () => {
    const broken = await startWorld({
      ports: { authenticate: () => Promise.reject(new Error('db:5432 down')) },
    })
    const client = await RawClient.open(broken.url)
    const frame = await client.ask({ id: 1, connect: { token: 'x' } })
    expect(frame).toMatchObject({ id: 1, error: { code: 100, temporary: true } })
    expect(JSON.stringify(frame)).not.toContain('5432')
    expect(broken.logged).toMatchObject([{ level: 'error', fields: { why: 'db:5432 down' } }])
    await broken.stop()
  })

  test('the log being away is temporary', async () => {
    world.events.failures.set('user:ann', new LockstepError('LS_DATABASE_UNREACHABLE'))
    const client = await RawClient.open(world.url)
    expect(await client.ask({ id: 1, connect: { token: await token('ann') } })).toMatchObject({
      error: {
        code: 100,
        temporary: true,
        message: 'LS_DATABASE_UNREACHABLE: The database cannot be reached right now. Try again in a moment.',
      },
    })
    world.gateway.revoke({ user: 'ann' })
    expect(world.gateway.connections()).toBe(1)
  })
})

describe('subscribe', () => {
  test.each([
    ['a channel twice', 'room:1', 105],
    ['the own user channel', 'user:ann', 105],
    ["another user's channel", 'user:bob', 103],
    ['a forbidden channel', 'secret:1', 103],
    ['an unknown channel', 'nowhere:1', 102],
    ['another case of the family', 'USER:ann', 102],
    ['an empty name', '', 107],
    ['256 bytes', `room:${'x'.repeat(251)}`, 107],
    ['a star', 'room:*', 107],
    ['>', 'room:>', 107],
    ['%', 'room:%', 107],
    ['{}', 'room:{}', 107],
    ['a newline', 'room:1\n', 107],
    ['..', 'room:..', 107],
    ['quotes', 'room:"\'', 107],
    ['NFC', 'room:\u00e9', 107],
    ['NFD', 'room:e\u0301', 107],
    ['a Unicode fold', 'u\u017fer:bob', 107],
  ])('%s', async (_name, channel, code) => {
    const client = await RawClient.connect(world, 'ann')
    await client.ask({ id: 2, subscribe: { channel: 'room:1' } })
    expect(await client.ask({ id: 3, subscribe: { channel } })).toMatchObject({ id: 3, error: { code } })
    expect(await client.ask({ id: 4, ping: {} })).toEqual({ id: 4, ping: {} })
  })

  test('replies keep the order of commands, though a later join is ready first', async () => {
    const gate = signal()
    world.events.gates.set('room:slow', gate.promise)
    const client = await RawClient.connect(world, 'ann')
    client.send(
      { id: 2, subscribe: { channel: 'room:slow' } },
      { id: 3, subscribe: { channel: 'room:fast' } },
      { id: 4, unsubscribe: { channel: 'room:slow' } },
      { id: 5, subscribe: { channel: 'room:slow' } },
      { id: 6, rpc: { method: 'echo', data: 1 } },
    )
    expect(await client.next()).toEqual({ id: 6, rpc: { data: 1 } })
    gate.fire()
    expect(await client.take(4)).toMatchObject([
      { id: 2, subscribe: { recoverable: true } },
      { id: 3, subscribe: { recoverable: true } },
      { id: 4, unsubscribe: {} },
      { id: 5, subscribe: { recoverable: true } },
    ])
    expect(world.events.subscribersOf('room:slow')).toBe(1)
  })

  test('an event that arrives while joining follows the reply, once', async () => {
    const gate = signal()
    world.events.gates.set('room:1', gate.promise)
    const client = await RawClient.connect(world, 'ann')
    client.send({ id: 2, subscribe: { channel: 'room:1' } }, { id: 3, ping: {} })
    await client.next()
    world.events.append('room:1', 'before')
    gate.fire()
    expect(await client.next()).toMatchObject({ id: 2, subscribe: { offset: 1 } })
    world.events.append('room:1', 'after')
    expect(await client.next()).toMatchObject({ push: { channel: 'room:1', pub: { offset: 2 } } })
  })

  test('a channel that is taken away while it is joined is denied', async () => {
    const gate = signal()
    world.events.gates.set('room:1', gate.promise)
    const client = await RawClient.connect(world, 'ann')
    client.send({ id: 2, subscribe: { channel: 'room:1' } }, { id: 3, ping: {} })
    await client.next()
    world.gateway.revoke({ user: 'ann', channel: 'room:1' })
    gate.fire()
    expect(await client.next()).toMatchObject({ id: 2, error: { code: 103 } })
    expect(world.events.subscribersOf('room:1')).toBe(0)
  })

  test('after a revocation nothing newer arrives', async () => {
    const client = await RawClient.connect(world, 'ann')
    await client.ask({ id: 2, subscribe: { channel: 'room:1' } })
    world.gateway.revoke({ user: 'ann', channel: 'room:1' })
    world.events.append('room:1', 'secret')
    expect(await client.next()).toMatchObject({ push: { channel: 'room:1', unsubscribe: { code: 2000 } } })
    expect(await client.ask({ id: 3, ping: {} })).toMatchObject({ id: 3 })
  })

  test('a failing log is temporary and leaves nothing behind', async () => {
    world.events.failures.set('room:1', new Error('socket hang up'))
    const client = await RawClient.connect(world, 'ann')
    const frame = await client.ask({ id: 2, subscribe: { channel: 'room:1' } })
    expect(frame).toMatchObject({ id: 2, error: { code: 100, temporary: true } })
    expect(world.logged[0]?.fields['requestId']).toBe(/request ([^"]+)"/.exec(JSON.stringify(frame))?.[1])
    world.events.failures.clear()
    expect(await client.ask({ id: 3, subscribe: { channel: 'room:1' } })).toMatchObject({ subscribe: {} })
  })

  test('a disconnect in the middle of a join leaves nobody behind', async () => {
    const gate = signal()
    world.events.gates.set('room:1', gate.promise)
    const client = await RawClient.connect(world, 'ann')
    client.send({ id: 2, subscribe: { channel: 'room:1' } }, { id: 3, ping: {} })
    await client.next()
    client.socket.terminate()
    const witness = await RawClient.connect(world, 'bob')
    while (world.gateway.connections() > 1) await witness.ask({ id: 2, ping: {} })
    gate.fire()
    await witness.settled()
    expect(world.events.subscribersOf('room:1')).toBe(0)
  })

  test('a disconnect ends what still waits for its turn: nobody asks for it, and nobody joins', async () => {
    const gate = signal()
    world.events.gates.set('room:1', gate.promise)
    const client = await RawClient.connect(world, 'ann')
    const channels = Array.from({ length: 40 }, (_, n) => `room:${n + 1}`)
    client.send(...channels.map((channel, n) => ({ id: n + 2, subscribe: { channel } })))
    await client.settled()
    client.socket.terminate()
    const witness = await RawClient.connect(world, 'bob')
    while (world.gateway.connections() > 1) await witness.ask({ id: 2, ping: {} })
    const joins = world.events.joins
    gate.fire()
    await witness.settled()
    expect(world.events.joins).toBe(joins)
    expect(channels.filter((channel) => world.events.subscribersOf(channel) > 0)).toEqual([])
  })

  test('the 128th channel is the last', async () => {
    const client = await RawClient.connect(world, 'ann')
    for (let id = 2; id <= 128; id += 1) client.send({ id, subscribe: { channel: `room:${id}` } })
    expect((await client.take(127)).every((frame) => frame['subscribe'] !== undefined)).toBe(true)
    expect(await client.ask({ id: 500, subscribe: { channel: 'room:more' } })).toMatchObject({
      error: { code: 106 },
    })
  })
})

test.each([
  ['publish', { channel: 'room:1', data: 1 }, 103],
  ['presence', { channel: 'room:1' }, 108],
  ['presence_stats', { channel: 'room:1' }, 108],
  ['history', { channel: 'room:1' }, 108],
  ['sub_refresh', { channel: 'room:1', token: 'x' }, 108],
  ['teleport', {}, 104],
  ['__defineGetter__', {}, 104],
  ['toString', {}, 104],
])('%s is answered with its error', async (name, body, code) => {
  const client = await RawClient.connect(world, 'ann')
  expect(await client.ask({ id: 2, [name]: body })).toMatchObject({ id: 2, error: { code } })
  expect(await client.ask({ id: 3 })).toMatchObject({ id: 3, error: { code: 107 } })
})

test('send is passed over, unsubscribe of nothing is fine, of the own channel it is not', async () => {
  const client = await RawClient.connect(world, 'ann')
  client.send({ send: { data: 1 } }, { id: 2, unsubscribe: { channel: 'room:9' } })
  expect(await client.next()).toEqual({ id: 2, unsubscribe: {} })
  expect(await client.ask({ id: 3, unsubscribe: { channel: 'user:ann' } })).toMatchObject({
    error: { code: 103 },
  })
})

describe('rpc', () => {
  test.each([
    ['a result', async () => ({ a: 1 }), { rpc: { data: { a: 1 } } }],
    ['nothing', async () => undefined, { rpc: {} }],
    ['null', async () => null, { rpc: { data: null } }],
    [
      'a refusal of the catalogue',
      () => Promise.reject(new LockstepError('LS_FORBIDDEN', { message: 'row 7 of table users' })),
      { error: { code: 403, message: 'LS_FORBIDDEN: You may not do this.' } },
    ],
    [
      'input errors, which say what was wrong',
      () => Promise.reject(new LockstepError('LS_INPUT_INVALID', { message: 'text: too short' })),
      { error: { code: 400, message: 'LS_INPUT_INVALID: text: too short' } },
    ],
    [
      'a stopping node',
      () => Promise.reject(new LockstepError('LS_NODE_STOPPING')),
      {
        error: {
          code: 405,
          message: 'LS_NODE_STOPPING: The server is stopping. Reconnect and send it again.',
          temporary: true,
        },
      },
    ],
  ])('%s', async (_name, handler: () => Promise<unknown>, answer) => {
    world.methods.set('it', handler)
    const client = await RawClient.connect(world, 'ann')
    expect(await client.ask({ id: 2, rpc: { method: 'it' } })).toEqual({ id: 2, ...answer })
  })

  test.each([
    ['throws something of its own', () => Promise.reject(new Error('password=hunter2'))],
    ['throws a string', () => Promise.reject('password=hunter2')],
    ['returns what JSON cannot say', async () => ({ big: 1n })],
    [
      'throws at once',
      (): Promise<unknown> => {
        throw new Error('password=hunter2')
      },
    ],
  ])(
    'a handler that %s: internal, raw text only in the log',
    async (_name, handler: () => Promise<unknown>) => {
      world.methods.set('it', handler)
      const client = await RawClient.connect(world, 'ann')
      const frame = await client.ask({ id: 2, rpc: { method: 'it' } })
      expect(frame).toMatchObject({ id: 2, error: { code: 100, temporary: true } })
      expect(JSON.stringify(frame)).not.toContain('hunter2')
      expect(world.logged).toHaveLength(1)
    },
  )

  test('an unknown method is 104, whatever it is called', async () => {
    const client = await RawClient.connect(world, 'ann')
    for (const method of ['nope', '', '__proto__', 'constructor', 'toString']) {
      expect(await client.ask({ id: 2, rpc: { method } })).toMatchObject({ id: 2, error: { code: 104 } })
    }
  })

  test('a slow call holds up nothing, one too many is refused, and the signal ends with the socket', async () => {
    const small = await startWorld({ limits: { maxOutstandingCalls: 64 } })
    const gone = signal()
    small.methods.set('slow', ({ signal: abort }) => {
      abort.addEventListener('abort', () => gone.fire(), { once: true })
      return gone.promise
    })
    const client = await RawClient.connect(small, 'ann')
    for (let id = 2; id < 66; id += 1) client.send({ id, rpc: { method: 'slow' } })
    expect(await client.ask({ id: 66, rpc: { method: 'slow' } })).toMatchObject({
      id: 66,
      error: { code: 111, temporary: true },
    })
    expect(await client.ask({ id: 67, subscribe: { channel: 'room:1' } })).toMatchObject({
      id: 67,
      subscribe: {},
    })
    client.socket.terminate()
    await gone.promise
    await small.stop()
  })

  test.each([
    ['letters', 'x'.repeat(1024 * 1024)],
    ['characters of three bytes', '語'.repeat(200_000)],
  ])('an answer of too many %s is an error, not the end of the connection', async (_, answer) => {
    world.methods.set('huge', async () => answer)
    const client = await RawClient.connect(world, 'ann')
    expect(await client.ask({ id: 2, rpc: { method: 'huge' } })).toMatchObject({
      id: 2,
      error: { code: 106 },
    })
  })
})

test('frames of one turn travel as one message, a lone one at once', async () => {
  const client = await RawClient.connect(world, 'ann')
  await client.ask({ id: 2, subscribe: { channel: 'room:1' } })
  const before = client.messages.length
  for (let n = 0; n < 5; n += 1) world.events.append('room:1', n)
  await client.take(5)
  expect(client.messages.slice(before).map((frames) => frames.length)).toEqual([5])
  client.send({ id: 3, rpc: { method: 'echo', data: 1 } }, { id: 4, rpc: { method: 'echo', data: 2 } })
  await client.take(2)
  expect(client.messages.at(-1)).toHaveLength(2)
  world.events.append('room:1', 'lone')
  await client.next()
  expect(client.messages.at(-1)).toHaveLength(1)
})

test('a flush sends at once what a turn has brought, but to a caller along with its answer', async () => {
  const [ann, bob] = await Promise.all([RawClient.connect(world, 'ann'), RawClient.connect(world, 'bob')])
  for (const client of [ann, bob]) await client.ask({ id: 2, subscribe: { channel: 'room:1' } })
  const written: number[] = []
  world.methods.set('emit', async () => {
    written.push(world.bytesWritten())
    world.events.append('room:1', 'emitted')
    written.push(world.bytesWritten())
    world.gateway.flush()
    written.push(world.bytesWritten())
    return 'done'
  })
  ann.send({ id: 3, rpc: { method: 'emit' } })
  await Promise.all([ann.take(2), bob.take(1)])
  expect(ann.messages.at(-1)).toMatchObject([{ push: { channel: 'room:1' } }, { id: 3 }])
  expect(bob.messages.at(-1)).toMatchObject([{ push: { channel: 'room:1' } }])
  const [before = 0, given = 0, flushed = 0] = written
  expect(given).toBe(before)
  // Bob got it in one frame; nothing was written to ann yet.
  const [event] = bob.messages.at(-1) ?? []
  expect(flushed - before).toBe(Buffer.byteLength(JSON.stringify(event)) + 4)
})

test('continuity lost: an unsubscribe push, or a close for the channel that the server subscribed', async () => {
  const client = await RawClient.connect(world, 'ann')
  await client.ask({ id: 2, subscribe: { channel: 'room:1' } })
  world.events.reset('room:1')
  expect(await client.next()).toEqual({
    push: { channel: 'room:1', unsubscribe: { code: 2500, reason: 'insufficient state' } },
  })
  expect(await client.ask({ id: 3, subscribe: { channel: 'room:1' } })).toMatchObject({ subscribe: {} })
  world.events.reset('user:ann')
  expect(await client.closed).toEqual({ code: 3010, reason: 'insufficient state' })
})

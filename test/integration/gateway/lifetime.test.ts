import { once } from 'node:events'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { WebSocket } from 'ws'
import { RawClient, signal, startWorld, token, type World } from './harness.ts'
import { ManualClock } from '../../support/manual-clock.ts'

let worlds: World[] = []
// The first ping comes early by chance; here it comes at 25 s.
beforeEach(() => {
  vi.spyOn(Math, 'random').mockReturnValue(1)
})
afterEach(async () => {
  vi.restoreAllMocks()
  await Promise.all(worlds.splice(0).map((started) => started.stop()))
})

async function world(...options: Parameters<typeof startWorld>): Promise<World> {
  const started = await startWorld(...options)
  worlds.push(started)
  return started
}

async function clocked(
  options: Parameters<typeof startWorld>[0] = {},
): Promise<{ clock: ManualClock; at: World }> {
  const clock = new ManualClock()
  return { clock, at: await world({ ...options, clock }) }
}

test('pings after 25 s, and again 25 s after the pong', async () => {
  const { clock, at } = await clocked()
  const client = await RawClient.connect(at, 'ann')
  clock.advance(25_500)
  expect(await client.next()).toEqual({})
  client.send('{}', { id: 2, ping: {} })
  expect(await client.next()).toMatchObject({ id: 2 })
  clock.advance(23_500)
  expect(await client.ask({ id: 3, ping: {} })).toMatchObject({ id: 3 })
  clock.advance(2_000)
  expect(await client.next()).toEqual({})
})

test('connections made at once do not ping at once', async () => {
  const { clock, at } = await clocked()
  await RawClient.connect(at, 'late')
  vi.spyOn(Math, 'random').mockReturnValue(0)
  const early = await RawClient.connect(at, 'early')
  clock.advance(13_000)
  expect(await early.next()).toEqual({})
})

test('a peer that is silent after a ping is closed with 3012, one that answers is not', async () => {
  const { clock, at } = await clocked()
  const silent = await RawClient.connect(at, 'ann')
  const lively = await RawClient.connect(at, 'bob')
  clock.advance(25_500)
  expect(await Promise.all([silent.next(), lively.next()])).toEqual([{}, {}])
  lively.send('{}')
  await lively.settled()
  clock.advance(9_000)
  expect(await silent.closed).toEqual({ code: 3012, reason: 'no pong' })
  await lively.settled()
})

test('five seconds to connect, then 4001, after which an SDK comes again', async () => {
  const { clock, at } = await clocked()
  const mute = await RawClient.open(at.url)
  const refused = await RawClient.open(at.url)
  await refused.ask({ id: 1, connect: { token: await token('ann', -1) } })
  clock.advance(4_000)
  expect(at.gateway.connections()).toBe(2)
  clock.advance(2_000)
  expect(await mute.closed).toEqual({ code: 4001, reason: 'no valid connect in time' })
  expect((await refused.closed).code).toBe(4001)
})

test('a connect that this node is too slow to answer is closed so that the client comes again', async () => {
  const [asked, gate] = [signal(), signal()]
  const { clock, at } = await clocked()
  at.events.gates.set('user:ann', gate.promise)
  const slowLog = await RawClient.open(at.url)
  slowLog.send({ id: 1, connect: { token: await token('ann') } })
  const slowKeys = await clocked({
    ports: {
      authenticate: async () => {
        asked.fire()
        await gate.promise
        return { user: { id: 'ann' } }
      },
    },
  })
  const slowCheck = await RawClient.open(slowKeys.at.url)
  slowCheck.send({ id: 1, connect: { token: 'x' } })
  await asked.promise
  while (at.events.joins === 0) await new Promise((resolve) => setImmediate(resolve))
  clock.advance(6_000)
  slowKeys.clock.advance(6_000)
  const late = { code: 3004, reason: 'connect was not answered in time' }
  expect(await Promise.all([slowLog.closed, slowCheck.closed])).toEqual([late, late])
  gate.fire()
})

test('a token that runs out closes with 3005 after the grace, unless it was refreshed', async () => {
  const { clock, at } = await clocked()
  const lapses = await RawClient.open(at.url)
  const renews = await RawClient.open(at.url)
  for (const client of [lapses, renews]) {
    const frame = await client.ask({ id: 1, connect: { token: await token('ann', 10) } })
    expect(frame).toMatchObject({ connect: { expires: true } })
  }
  clock.advance(12_000)
  const answer = await renews.ask({ id: 2, refresh: { token: await token('ann', 600) } })
  expect(answer).toMatchObject({ refresh: { expires: true, client: expect.any(String) as string } })
  clock.advance(6_000)
  expect(await lapses.closed).toEqual({ code: 3005, reason: 'token expired' })
  expect(await renews.ask({ id: 3, ping: {} })).toMatchObject({ id: 3 })
})

test('a refresh must be for the same user, not expired, and well signed', async () => {
  const at = await world()
  const client = await RawClient.connect(at, 'ann')
  const refresh = async (id: number, with_: string): Promise<unknown> =>
    client.ask({ id, refresh: { token: with_ } })
  expect(await refresh(2, await token('bob'))).toMatchObject({ error: { code: 103 } })
  client.send({ id: 3, refresh: { token: 'forged' } })
  expect(await client.closed).toEqual({ code: 3500, reason: 'invalid token' })
  const late = await RawClient.connect(at, 'ann')
  late.send({ id: 2, refresh: { token: await token('ann', -5) } })
  expect(await late.closed).toEqual({ code: 3005, reason: 'token expired' })
  const signedOut = await RawClient.connect(at, 'ann')
  signedOut.send({ id: 2, refresh: {} })
  expect((await signedOut.closed).code).toBe(3500)
})

test('a peer that does not read is closed with 3008 and delays nobody', async () => {
  const at = await world()
  const slow = await RawClient.connect(at, 'ann')
  const quick = await RawClient.connect(at, 'bob')
  for (const client of [slow, quick]) await client.ask({ id: 2, subscribe: { channel: 'room:1' } })
  slow.socket.pause()
  const text = 'x'.repeat(100_000)
  for (let n = 1; at.events.subscribersOf('room:1') === 2; n += 1) {
    at.events.append('room:1', text)
    expect(await quick.next()).toMatchObject({ push: { pub: { offset: n } } })
  }
  slow.socket.resume()
  expect(await slow.closed).toEqual({ code: 3008, reason: 'slow consumer' })
  expect(slow.messages.flat().filter((frame) => frame['push'] !== undefined).length).toBeGreaterThan(0)
})

test('a burst in one turn reaches a peer that reads', async () => {
  const at = await world()
  const client = await RawClient.connect(at, 'ann')
  await client.ask({ id: 2, subscribe: { channel: 'room:1' } })
  for (let n = 0; n < 60; n += 1) at.events.append('room:1', 'x'.repeat(10_000))
  const offsets = (await client.take(60)).map((frame) => (frame as never)['push']['pub']['offset'])
  expect(offsets).toEqual(Array.from({ length: 60 }, (_, n) => n + 1))
})

test('drafts are dropped for a peer that is behind, events are not', async () => {
  const at = await world()
  const slow = await RawClient.connect(at, 'ann')
  await slow.ask({ id: 2, subscribe: { channel: 'room:1' } })
  at.events.draft('room:1', 'shown')
  expect(await slow.next()).toMatchObject({ push: { pub: { data: { data: 'shown' } } } })
  // The kernel is given nothing within one turn of the loop, so the bytes not sent yet count.
  for (let n = 0; n < 500; n += 1) at.events.draft('room:1', 'x'.repeat(50_000))
  at.events.append('room:1', 'kept')
  let frame = await slow.next()
  while ((frame as never)['push']['pub']['offset'] === undefined) frame = await slow.next()
  expect(slow.messages.flat().length).toBeLessThan(500)
})

test('limits: connections in all, and of one user', async () => {
  const { at } = await clocked({ limits: { maxConnections: 3, maxConnectionsPerUser: 2 } })
  await RawClient.connect(at, 'ann')
  await RawClient.connect(at, 'ann')
  const third = await RawClient.open(at.url)
  third.send({ id: 1, connect: { token: await token('ann') } })
  const fourth = new WebSocket(at.url)
  const [, response] = (await once(fourth, 'unexpected-response')) as [unknown, { statusCode: number }]
  expect(response.statusCode).toBe(503)
  fourth.on('error', () => {})
  fourth.terminate()
  expect(await third.closed).toEqual({ code: 4000, reason: 'too many connections of this user' })
})

test('a user who sends too many commands is read more slowly, over all connections, and others are not', async () => {
  const { clock, at } = await clocked({ limits: { maxCommandsPerSecond: 10 } })
  const [first, second] = [await RawClient.connect(at, 'ann'), await RawClient.connect(at, 'ann')]
  const other = await RawClient.connect(at, 'bob')
  // A burst of five seconds' worth of commands, and one more.
  for (let id = 2; id < 53; id += 1) first.send({ id, ping: {} })
  expect((await first.take(51)).map(({ id }) => id)).toEqual(Array.from({ length: 51 }, (_, n) => n + 2))
  first.send({ id: 60, ping: {} })
  const heard = first.messages.length
  second.send({ id: 60, ping: {} })
  expect((await second.take(1)).map(({ id }) => id)).toEqual([60])
  second.send({ id: 61, ping: {} })
  for (let id = 2; id < 40; id += 1) other.send({ id, ping: {} })
  await other.take(38)
  expect([first.messages.length, second.messages.length]).toEqual([heard, 2])
  // Commands that wait in the sockets are read as time passes; none is lost.
  clock.advance(1_000)
  expect((await first.take(1)).map(({ id }) => id)).toEqual([60])
  expect((await second.take(1)).map(({ id }) => id)).toEqual([61])
})

test('a user who sends too many commands and reconnects is read no faster', async () => {
  const { clock, at } = await clocked({ limits: { maxCommandsPerSecond: 10 } })
  const [first, other] = [await RawClient.connect(at, 'ann'), await RawClient.connect(at, 'bob')]
  for (let id = 2; id < 53; id += 1) first.send({ id, ping: {} })
  await first.take(51)
  first.socket.terminate()
  await expect.poll(() => at.gateway.connections()).toBe(1)
  const again = await RawClient.open(at.url)
  again.send({ id: 1, connect: { token: await token('ann') } }, { id: 2, ping: {} })
  expect(await again.next()).toMatchObject({ id: 1, connect: {} })
  again.send({ id: 3, ping: {} })
  await other.settled()
  expect(again.messages).toHaveLength(1)
  clock.advance(1_000)
  expect((await again.take(2)).map(({ id }) => id)).toEqual([2, 3])
})

test('commands of one message wait for the pace as those of many do', async () => {
  const { clock, at } = await clocked({ limits: { maxCommandsPerSecond: 10 } })
  const [client, other] = [await RawClient.connect(at, 'ann'), await RawClient.connect(at, 'bob')]
  const ids = Array.from({ length: 60 }, (_, n) => n + 2)
  client.send(...ids.map((id) => ({ id, ping: {} })))
  client.send({ id: 100, ping: {} })
  expect((await client.take(51)).map(({ id }) => id)).toEqual(ids.slice(0, 51))
  await other.settled()
  const heard = client.messages.length
  clock.advance(500)
  expect((await client.take(5)).map(({ id }) => id)).toEqual(ids.slice(51, 56))
  clock.advance(2_000)
  expect((await client.take(5)).map(({ id }) => id)).toEqual([...ids.slice(56), 100])
  expect(client.messages.length).toBeGreaterThan(heard)
})

test('commands beyond those of one message count as refused', async () => {
  const { clock, at } = await clocked({ limits: { maxCommandsPerSecond: 10, maxCommandsPerMessage: 1 } })
  const client = await RawClient.connect(at, 'ann')
  const other = await RawClient.connect(at, 'bob')
  client.send(...Array.from({ length: 7 }, (_, n) => ({ id: n + 2, ping: {} })))
  const refused = { error: { code: 111 } }
  expect(await client.take(6)).toMatchObject([{ ping: {} }, refused, refused, refused, refused, refused])
  client.send({ id: 20, ping: {} })
  await other.settled()
  clock.advance(3_000)
  expect((await client.take(2)).map(({ id }) => id)).toEqual([8, 20])
})

test('a peer whose pong is not read, since its user has sent too much, is not closed as silent', async () => {
  const { clock, at } = await clocked({ limits: { maxCommandsPerSecond: 10 } })
  const client = await RawClient.connect(at, 'ann')
  client.send(...Array.from({ length: 400 }, (_, n) => ({ id: n + 2, ping: {} })))
  await client.take(51)
  for (let second = 0; second < 40; second += 1) clock.advance(1_000)
  // A ping among them.
  const frames = await client.take(350)
  expect(frames.filter(({ id }) => id !== undefined)).toHaveLength(349)
  expect(await client.ask('{}\n{"id":999,"ping":{}}')).toMatchObject({ id: 999 })
})

test('what is refused counts for more than what is taken', async () => {
  const { clock, at } = await clocked({ limits: { maxCommandsPerSecond: 10, maxOutstandingCalls: 1 } })
  at.methods.set('never', () => new Promise(() => {}))
  const client = await RawClient.connect(at, 'ann')
  for (let id = 2; id < 9; id += 1) client.send({ id, rpc: { method: 'never' } })
  // Five refusals are as much as fifty commands.
  await client.take(5)
  client.send({ id: 20, ping: {} })
  const other = await RawClient.connect(at, 'bob')
  other.send({ id: 2, ping: {} })
  await other.take(1)
  clock.advance(2_000)
  const frames = await client.take(2)
  expect(frames.map(({ id }) => id)).toEqual([8, 20])
})

test('a call that fails counts for every connection of its user, since each is sent the notice', async () => {
  const { clock, at } = await clocked({ limits: { maxCommandsPerSecond: 10 } })
  at.methods.set('fail', () => Promise.resolve({ outcome: 'rolled_back' }))
  at.methods.set('do', () => Promise.resolve({ outcome: 'committed' }))
  const all = []
  for (let n = 0; n < 10; n += 1) all.push(await RawClient.connect(at, 'ann'))
  const [client, other] = [all[0] as RawClient, await RawClient.connect(at, 'bob')]
  // Calls that cost eleven each, of a burst of fifty.
  for (let id = 2; id < 7; id += 1) await client.ask({ id, rpc: { method: 'fail' } })
  client.send({ id: 20, rpc: { method: 'do' } })
  // A user with one tab does not notice, however many calls fail.
  for (let id = 2; id < 22; id += 1) await other.ask({ id, rpc: { method: 'fail' } })
  await other.settled()
  expect(client.messages.at(-1)).toMatchObject([{ id: 6 }])
  clock.advance(1_000)
  expect(await client.take(1)).toMatchObject([{ id: 20, rpc: {} }])
})

test('a connection that is not read any further can still be closed', async () => {
  const { at } = await clocked({ limits: { maxCommandsPerSecond: 1 } })
  const client = await RawClient.connect(at, 'ann')
  for (let id = 2; id < 9; id += 1) client.send({ id, ping: {} })
  await client.take(6)
  const closed = at.gateway.close()
  expect((await client.closed).code).toBe(3001)
  await closed
})

test('close: no new connections, all others 3001 over the drain time, and the promise waits for them', async () => {
  const { clock, at } = await clocked()
  const clients = await Promise.all(['a', 'b', 'c', 'd'].map((user) => RawClient.connect(at, user)))
  const closed = at.gateway.close({ drainMs: 80 })
  expect(at.gateway.close()).toBe(closed)
  const late = new WebSocket(at.url)
  late.on('error', () => {})
  const [, response] = (await once(late, 'unexpected-response')) as [unknown, { statusCode: number }]
  expect(response.statusCode).toBe(503)
  late.terminate()
  const first = await Promise.race(clients.map((client) => client.closed))
  expect(first).toEqual({ code: 3001, reason: 'shutdown' })
  const [last] = clients.slice(-1)
  await last?.settled()
  for (let step = 0; step < 4; step += 1) {
    clock.advance(20)
    await Promise.resolve()
    await clients[Math.min(step + 1, 3)]?.closed
  }
  await closed
  expect(at.gateway.connections()).toBe(0)
})

test('close forces a peer that never answers it', async () => {
  const { clock, at } = await clocked({ limits: { closeTimeoutMs: 60_000 } })
  const client = await RawClient.connect(at, 'ann')
  client.socket.pause()
  const closed = at.gateway.close()
  clock.advance(61_000)
  await closed
  client.socket.resume()
  expect((await client.closed).code).toBe(3001)
})

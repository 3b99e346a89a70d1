// Acknowledgements, by which clients say when they handled an event: the gateway's treatment of honest, broken and
// lying ones, on real sockets.
import assert from 'node:assert/strict'
import { Centrifuge, type PublicationContext } from 'centrifuge'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { createClient } from '../../../src/client/index.ts'
import { systemClock, type Clock, type IsolationReport, type LayerReport } from '../../../src/core/index.ts'
import { createFaultProxy } from '../../faults/proxy.ts'
import { Inbox } from '../../support/sockets.ts'
import { RawClient, signal, startWorld, token, type World } from './harness.ts'
import { ManualClock } from '../../support/manual-clock.ts'
import { eventually } from '../../support/eventually.ts'

const room = 'room:1'
const asked = { ack: '1' }
let world: World
let reports: Inbox<LayerReport>
let exposures: IsolationReport[]
const opened: (() => unknown)[] = []

async function serve(clock: Clock = systemClock): Promise<World> {
  reports = new Inbox()
  exposures = []
  const probe = {
    isOn: true,
    ended: () => {},
    reached: (report: LayerReport) => {
      if (report.layer === 'client') reports.push(report)
    },
    exposed: (report: IsolationReport) => exposures.push(report),
  }
  // No pings: on a clock that leaps, no peer is quick enough to answer them.
  const served = await startWorld({ clock, pingIntervalMs: 10_000_000, ports: { probe } })
  opened.push(() => served.stop())
  return served
}

afterEach(async () => {
  for (const close of opened.splice(0).toReversed()) await close()
  assert.deepEqual(exposures, [])
})

/** Opens a client that is connected and subscribed; commands and replies up to then are behind it. */
async function listener(user: string, channel = room): Promise<RawClient> {
  const client = await RawClient.connect(world, user)
  await client.ask({ id: 2, subscribe: { channel } })
  return client
}

/** Sends acknowledgements, and resolves when the gateway has read them. */
async function acknowledge(client: RawClient, acks: unknown): Promise<void> {
  client.send({ send: { data: { acks } } })
  await client.settled()
}

const entry = (offset: number, heldMs: number, channel = room): unknown[] => [channel, offset, heldMs]

describe('on a clock that stands still', () => {
  let clock: ManualClock
  let ann: RawClient
  beforeEach(async () => {
    clock = new ManualClock()
    world = await serve(clock)
    ann = await listener('ann')
  })

  test('an answer is placed in the middle of what is possible, and the error reaches to its ends', async () => {
    clock.advance(1_000)
    world.events.append(room, 'hi', asked)
    await ann.next()
    clock.advance(300)
    await acknowledge(ann, [entry(1, 240)])
    // 60 ms on the way there and back, 1 ms for the rounding and 0.12 ms for the drift of the client's clock.
    expect(reports.items).toEqual([
      {
        layer: 'client',
        operationId: '018f0000-0000-7000-8000-000000000000',
        at: expect.closeTo(1_030.56, 6),
        errorMs: expect.closeTo(30.56, 6),
        channel: room,
        offset: 1,
        flushedAt: Date.parse('2026-01-01T00:00:00.000Z'),
      },
    ])
    expect(world.gateway.acknowledgements).toEqual({ taken: 1, rejected: 0 })
  })

  test('a browser that rounds its clock may claim to have waited up to 1 ms too long', async () => {
    world.events.append(room, 'hi', asked)
    world.events.append(room, 'ho', asked)
    clock.advance(100)
    await acknowledge(ann, [entry(1, 100.9), entry(2, 102)])
    expect(world.gateway.acknowledgements).toEqual({ taken: 1, rejected: 1 })
    expect(reports.items.map(({ at, errorMs }) => [at, errorMs])).toEqual([
      [expect.closeTo(0.075225, 5), expect.closeTo(0.075225, 5)],
    ])
  })

  test('an answer that took more than a minute is none', async () => {
    world.events.append(room, 'hi', asked)
    world.events.append(room, 'ho', asked)
    clock.advance(60_500)
    await acknowledge(ann, [entry(1, 0), entry(2, 1_600)])
    expect(reports.items.map(({ offset }) => offset)).toEqual([2])
    expect(world.gateway.acknowledgements).toEqual({ taken: 1, rejected: 1 })
  })

  test('each connection counts once for each event', async () => {
    const bob = await listener('bob')
    world.events.append(room, 'hi', asked)
    await acknowledge(ann, [entry(1, 0), entry(1, 0)])
    await acknowledge(ann, [entry(1, 0)])
    await acknowledge(bob, [entry(1, 0)])
    expect(world.gateway.acknowledgements).toEqual({ taken: 2, rejected: 2 })
    expect(reports.items).toHaveLength(2)
  })

  test('the user’s own channel counts as any other', async () => {
    world.events.append('user:ann', 'hi', asked)
    await acknowledge(ann, [entry(1, 0, 'user:ann')])
    expect(reports.items).toMatchObject([{ channel: 'user:ann', offset: 1 }])
  })

  test('at most 64 answers to one event are taken', async () => {
    const others = await Promise.all(Array.from({ length: 65 }, (_, n) => listener(`user-${n}`)))
    world.events.append(room, 'hi', asked)
    for (const other of others) await acknowledge(other, [entry(1, 0)])
    expect(world.gateway.acknowledgements).toEqual({ taken: 64, rejected: 1 })
  })

  test('the newest 4,096 events are remembered', async () => {
    for (let count = 0; count < 4_097; count += 1) {
      world.events.append(room, 'hi', asked)
      // The peer has to be let read in between: what waits for it is bounded.
      if (count % 500 === 0) await ann.settled()
    }
    await acknowledge(ann, [entry(1, 0), entry(2, 0), entry(4_097, 0)])
    expect(reports.items.map(({ offset }) => offset)).toEqual([2, 4_097])
  })
})

describe('what is forged, broken or too much', () => {
  const huge = Array.from({ length: 51 }, () => entry(1, 0))

  test.each<[string, unknown, number]>([
    ['a negative duration', [entry(1, -1)], 1],
    ['a duration longer than there was', [entry(1, 60_000)], 1],
    ['the largest duration', [entry(1, 1e308)], 1],
    ['a duration that is text', [[room, 1, '5']], 1],
    ['NaN, as JSON has it', [entry(1, NaN)], 1],
    ['an offset that was never sent', [entry(99, 0)], 1],
    ['offsets that are none', [entry(0, 0), entry(-1, 0), entry(1.5, 0), entry(2 ** 53, 0)], 4],
    ['an event that nobody was asked about', [entry(2, 0)], 1],
    ['an event from before the connection subscribed', [entry(1, 0, 'room:2')], 1],
    ['a channel that it has not subscribed', [entry(1, 0, 'room:3')], 1],
    ['a channel that it has left', [entry(1, 0, 'room:4')], 1],
    ['the own channel of somebody else', [entry(1, 0, 'user:control')], 1],
    ['a channel without end', [entry(1, 0, 'x'.repeat(50_000))], 1],
    [
      'entries of any other shape',
      [[], [room], [room, 1], [room, 1, 0, 0], {}, null, 1, 'x', [[room, 1, 0]]],
      9,
    ],
    ['more than 50 entries', huge, 1],
    ['an array of thousands', Array.from({ length: 20_000 }, () => 0), 1],
    ['no array', { 0: entry(1, 0), length: 1 }, 1],
    ['null', null, 1],
  ])('%s: ignored and counted, and nobody is disturbed', async (_, acks, rejected) => {
    world = await serve()
    const control = await listener('control')
    await control.ask({ id: 3, subscribe: { channel: 'room:3' } })
    await control.ask({ id: 4, subscribe: { channel: 'room:4' } })
    await control.ask({ id: 5, subscribe: { channel: 'room:2' } })
    world.events.append('room:2', 'early', asked)
    await control.next()
    const liar = await listener('liar')
    await liar.ask({ id: 3, subscribe: { channel: 'room:2' } })
    await liar.ask({ id: 4, subscribe: { channel: 'room:4' } })
    world.events.append(room, 'hi', asked)
    world.events.append(room, 'ho')
    for (const channel of ['room:3', 'room:4', 'user:control']) world.events.append(channel, 'hi', asked)
    await control.take(5)
    await liar.take(3)
    await liar.ask({ id: 5, unsubscribe: { channel: 'room:4' } })
    await acknowledge(liar, acks)
    expect(reports.items).toEqual([])
    expect(world.gateway.acknowledgements).toEqual({ taken: 0, rejected })
    // True acknowledgements are still taken, from either client.
    await acknowledge(liar, [entry(1, 0)])
    await acknowledge(control, [entry(1, 0), entry(1, 0, 'room:2')])
    expect(world.gateway.acknowledgements).toEqual({ taken: 3, rejected })
    expect(world.logged).toEqual([])
  })

  test.each([
    ['no data', '{"send":{}}'],
    ['no object', '{"send":1}'],
    ['null', '{"send":null}'],
    ['data of the application', '{"send":{"data":{"hello":[1,2,3]}}}'],
    ['data that is text', '{"send":{"data":"acks"}}'],
    ['an inherited name', '{"send":{"data":[["acks"]]}}'],
  ])('a send with %s is passed over', async (_, line) => {
    world = await serve()
    const ann = await listener('ann')
    ann.send(line)
    await ann.settled()
    expect(world.gateway.acknowledgements).toEqual({ taken: 0, rejected: 0 })
  })

  test('a number beyond all counts as nothing', async () => {
    world = await serve()
    const control = await listener('control')
    const liar = await listener('liar')
    world.events.append(room, 'hi', asked)
    liar.send(`{"send":{"data":{"acks":[["${room}",1,1e999]]}}}`)
    await liar.settled()
    await acknowledge(control, [entry(1, 0)])
    expect(world.gateway.acknowledgements).toEqual({ taken: 1, rejected: 0 })
  })

  test('11,000 commands at once: the limit holds, one counts, and others get their events', async () => {
    world = await serve(new ManualClock())
    const control = await listener('control')
    const liar = await listener('liar')
    world.events.append(room, 'hi', asked)
    await control.next()
    const line = JSON.stringify({ send: { data: { acks: Array.from({ length: 20 }, () => entry(1, 0)) } } })
    for (let sent = 0; sent < 11_000; sent += 100) liar.send(...Array.from({ length: 100 }, () => line))
    world.events.append(room, 'ho')
    expect(await control.next()).toMatchObject({ push: { pub: { offset: 2 } } })
    // Expect one burst only: the clock stands still.
    await eventually(() => {
      expect(world.gateway.acknowledgements?.rejected).toBeGreaterThanOrEqual(5_000 * 20 - 1)
    }, 10_000)
    expect(await control.settled()).toBeUndefined()
    expect(reports.items).toHaveLength(1)
    // Commands that came in one piece with the last of the burst are carried out, too.
    expect(world.gateway.acknowledgements?.rejected).toBeLessThan(6_000 * 20)
    expect(world.gateway.acknowledgements?.taken).toBe(1)
  })

  test('without a probe nobody listens to acknowledgements', async () => {
    world = await startWorld()
    opened.push(() => world.stop())
    reports = new Inbox()
    exposures = []
    const ann = await listener('ann')
    world.events.append(room, 'hi', asked)
    await acknowledge(ann, [entry(1, 0), 'nonsense'])
    expect(world.gateway.acknowledgements).toEqual({ taken: 0, rejected: 0 })
  })
})

test('the unmodified client gets the same events, answers nothing, and recovers them without tags', async () => {
  world = await serve()
  const client = new Centrifuge(world.url, {
    websocket: WebSocket,
    token: await token('ann'),
    minReconnectDelay: 5,
    maxReconnectDelay: 10,
  })
  opened.push(() => client.disconnect())
  const inbox = new Inbox<PublicationContext>()
  const subscription = client.newSubscription(room)
  subscription.on('publication', inbox.push)
  subscription.subscribe()
  client.connect()
  await subscription.ready()
  world.events.append(room, { n: 1 }, asked)
  world.events.append(room, { n: 1 })
  const [marked, plain] = await inbox.until(({ length }) => length === 2)
  expect(marked?.tags).toEqual(asked)
  expect(plain?.tags).toBe(undefined)
  expect(marked?.data).toEqual(plain?.data)
  const back = signal<unknown>()
  subscription.on('subscribed', ({ recovered }) => back.fire(recovered))
  client.disconnect()
  world.events.append(room, { n: 1 }, asked)
  client.connect()
  expect(await back.promise).toBe(true)
  const items = await inbox.until(({ length }) => length === 3)
  expect(items[2]).toMatchObject({ offset: 3, data: plain?.data as object })
  expect(items[2]?.tags).toBe(undefined)
  expect(world.gateway.acknowledgements).toEqual({ taken: 0, rejected: 0 })
})

describe('with lockstep/client behind a network', () => {
  test.each([
    ['the same both ways', { down: 40, up: 40 }],
    ['slow to the client', { down: 80, up: 2 }],
    ['slow to the server', { down: 2, up: 80 }],
  ])('%s: what is stated contains when it was handled', async (_, { down, up }) => {
    world = await serve()
    const proxy = await createFaultProxy({
      target: () => world.port,
      intercept: (link) => ({
        up: (bytes) => void setTimeout(() => link.pass('up', bytes), up),
        down: (bytes) => void setTimeout(() => link.pass('down', bytes), down),
      }),
    })
    opened.push(() => proxy.close())
    const client = createClient({
      url: `ws://127.0.0.1:${proxy.port}/lockstep/ws`,
      getToken: () => token('ann'),
      websocket: WebSocket,
      storage: null,
    })
    opened.push(() => client.close())
    // The client runs in this process, so its monotonic clock is the gateway's.
    const handledAt: number[] = []
    const channel = client.channel(room)
    channel.on('*', () => handledAt.push(performance.now()))
    await channel.ready()
    const writtenAt = performance.now()
    for (let count = 0; count < 30; count += 1) world.events.append(room, count, asked)
    const answers = await reports.until(({ length }) => length === 30)
    for (const [index, { at, errorMs = 0, offset }] of answers.entries()) {
      expect(offset).toBe(index + 1)
      const handled = handledAt[index] ?? NaN
      expect(Math.abs(handled - at)).toBeLessThanOrEqual(errorMs)
      // The error covers the way there and back, not the 250 ms in which answers are gathered.
      expect(errorMs).toBeGreaterThanOrEqual((down + up) / 2 - 2)
      expect(at - writtenAt).toBeGreaterThanOrEqual((down + up) / 2 - 2)
    }
    expect(world.gateway.acknowledgements).toEqual({ taken: 30, rejected: 0 })
  })
})

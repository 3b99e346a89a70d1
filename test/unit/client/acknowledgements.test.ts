import assert from 'node:assert/strict'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { createClient, type Client } from '../../../src/client/index.ts'
import type { AcknowledgementMessage } from '../../../src/protocol/index.ts'
import { envelope, FakeGateway, tokenOf, type Connection } from './fake-gateway.ts'

const room = 'room:1'
let gateway: FakeGateway
let client: Client
let connection: Connection
let heard: number[]
const errors: unknown[] = []

beforeEach(async () => {
  errors.length = 0
  heard = []
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
  const channel = client.channel(room)
  channel.on('*', (_, { offset }) => heard.push(offset ?? 0))
  await channel.ready()
  connection = await gateway.connects.next()
})
afterEach(async () => {
  client.close()
  await gateway.close()
  assert.deepEqual(errors, [])
})

const all = { ack: '1' }
const publish = (offset: number, tags?: Record<string, string>): void => {
  connection.publish(room, offset, envelope('note', offset), tags)
}
const nextAcks = async (): Promise<AcknowledgementMessage['acks']> =>
  ((await gateway.sends.next()) as AcknowledgementMessage).acks

test('what is asked about is acknowledged in one message, and nothing else is', async () => {
  const began = performance.now()
  publish(1)
  publish(2, all)
  publish(3, { ack: '0' })
  publish(4, { ack: 'everyone' })
  publish(5, { other: '1' })
  // The listeners do not run for an event that was seen before.
  publish(2, all)
  connection.publish(room, undefined, envelope('token', 1), all)
  publish(6, all)
  connection.publish('user:ann', 1, envelope('note', 1), all)
  const acks = await nextAcks()
  const elapsed = performance.now() - began
  expect(acks.map(([channel, offset]) => [channel, offset])).toEqual([
    [room, 2],
    [room, 6],
    ['user:ann', 1],
  ])
  for (const [, , heldMs] of acks) {
    expect(heldMs).toBeGreaterThanOrEqual(0)
    expect(heldMs).toBeLessThanOrEqual(elapsed)
  }
  expect(gateway.sends.all).toHaveLength(1)
})

test('twenty go at once, and what comes later goes in another message', async () => {
  for (let offset = 1; offset <= 21; offset += 1) publish(offset, all)
  expect((await nextAcks()).map(([, offset]) => offset)).toEqual(Array.from({ length: 20 }, (_, n) => n + 1))
  expect((await nextAcks()).map(([, offset]) => offset)).toEqual([21])
})

test('the share that is asked for answers', async () => {
  for (let offset = 1; offset <= 1_000; offset += 1) publish(offset, { ack: '0.3' })
  publish(1_001, all)
  const answered: number[] = []
  while (answered.at(-1) !== 1_001) answered.push(...(await nextAcks()).map(([, offset]) => offset))
  // Allows for six standard deviations.
  expect(answered.length).toBeGreaterThan(213)
  expect(answered.length).toBeLessThan(388)
})

test('the time is taken after the listeners, so what they take counts as the way and not as the wait', async () => {
  const slow = client.channel('room:slow')
  let handledAt = Infinity
  slow.on('note', () => {
    const until = performance.now() + 60
    while (performance.now() < until);
    handledAt = performance.now()
  })
  await slow.ready()
  connection.publish('room:slow', 1, envelope('note', 1), all)
  const [[, , heldMs] = ['', 0, Infinity]] = await nextAcks()
  expect(heldMs).toBeLessThanOrEqual(performance.now() - handledAt)
})

test('what cannot be sent any more is lost without a word, and what comes later is sent', async () => {
  // The twentieth event's acknowledgement sends the batch.
  const off = client.channel(room).on('*', (_, { offset }) => {
    if (offset === 20) client.connection.disconnect()
  })
  for (let offset = 1; offset <= 20; offset += 1) publish(offset, all)
  await expect.poll(() => heard).toHaveLength(20)
  off()
  client.connection.connect()
  connection = await gateway.connects.next()
  await client.channel(room).ready()
  publish(21, all)
  expect((await nextAcks()).map(([, offset]) => offset)).toEqual([21])
})

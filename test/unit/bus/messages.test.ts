import fc from 'fast-check'
import { expect, it } from 'vitest'
import {
  beginningOf,
  decodeMessage,
  encodeBusEvent,
  encodeBusHead,
  encodeBusTransient,
  encodeMessage,
} from '../../../src/bus/message.ts'
import { Outbox } from '../../../src/bus/outbox.ts'
import { shardOf } from '../../../src/bus/shards.ts'
import type { StoredEvent } from '../../../src/log/index.ts'

const anyEvent: fc.Arbitrary<StoredEvent> = fc.record({
  channel: fc.string({ unit: 'binary' }),
  offset: fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
  operationId: fc.uuid(),
  type: fc.string(),
  data: fc.json(),
  at: fc.date({ noInvalidDate: true }),
})

const eventOf = (channel: string, offset: number, bytes: number): StoredEvent => {
  const data = JSON.stringify('x'.repeat(bytes))
  return { channel, offset, operationId: 'o', type: 't', data, at: new Date(0) }
}

it('arrives as it was sent', () => {
  fc.assert(
    fc.property(fc.array(anyEvent), fc.array(anyEvent), (events, others) => {
      const heads = others.map(({ channel, offset }) => ({ channel, head: offset }))
      const transients = others.map(({ channel, type, operationId, data, at }) => {
        return { channel, type, operationId, data, at }
      })
      const text = encodeMessage('a node', {
        events: events.map(encodeBusEvent),
        heads: heads.map(encodeBusHead),
        transients: transients.map(encodeBusTransient),
      })
      expect(decodeMessage(text)).toEqual({ from: 'a node', events, heads, transients })
    }),
  )
})

it('says at its beginning who sent it, and is on one line', () => {
  fc.assert(
    fc.property(fc.uuid(), fc.uuid(), fc.array(anyEvent), (own, other, events) => {
      const messages = [own, other, `${own}:7`].map((from) =>
        encodeMessage(from, { events: events.map(encodeBusEvent) }),
      )
      expect(messages.map((text) => text.startsWith(beginningOf(own)))).toEqual([true, own === other, false])
      for (const text of messages) expect(text).not.toContain('\n')
    }),
  )
})

it('takes anything else for nothing', () => {
  const texts = fc.oneof(
    fc.string(),
    fc.json(),
    fc.json().map((json) => `{"from":"a","events":[${json}],"heads":[]}`),
    fc.json().map((json) => `{"from":"a","events":[],"heads":[],"transients":[${json}]}`),
  )
  fc.assert(
    fc.property(texts, (text) => {
      expect(decodeMessage(text)).toBe(undefined)
    }),
  )
  const bad = [
    '["c",0,"o","t",1,"d"]',
    '["c",1,"o","t",1e99,"d"]',
    '["c",1,"o","t",1]',
    '["c",1.5,"o","t",1,"d"]',
  ]
  for (const event of bad) expect(decodeMessage(encodeMessage('a', { events: [event] }))).toBe(undefined)
})

it('keeps messages below the size of the broker, and sends the head of what does not fit', () => {
  const outbox = new Outbox({ from: 'a', maxMessageBytes: 1_000, subjectOf: () => 'one subject' })
  outbox.add([
    ...Array.from({ length: 20 }, (_, n) => eventOf('room:small', n + 1, 200)),
    eventOf('room:large', 7, 5_000),
  ])
  const messages = outbox.take()
  const decoded = messages.map(({ text }) => decodeMessage(text))
  for (const { text } of messages) expect(Buffer.byteLength(text)).toBeLessThanOrEqual(1_000)
  expect(decoded.flatMap((message) => message?.events ?? []).map(({ offset }) => offset)).toEqual(
    Array.from({ length: 20 }, (_, n) => n + 1),
  )
  expect(decoded.flatMap((message) => message?.heads ?? [])).toEqual([{ channel: 'room:large', head: 7 }])
  expect(outbox.isEmpty).toBe(true)
})

it('does not grow with what a broker does not take', () => {
  const outbox = new Outbox({ from: 'a', maxMessageBytes: 100_000, subjectOf: String })
  for (let offset = 1; offset <= 30_000; offset++) outbox.add([eventOf(`room:${offset}`, offset, 1_000)])
  const bytes = outbox.take().reduce((sum, { text }) => sum + text.length, 0)
  expect(bytes).toBeLessThan(8 * 1024 * 1024)
})

it('puts a channel into the same shard on every node, and all of them to use', () => {
  const shards = new Set(Array.from({ length: 2_000 }, (_, n) => shardOf(`room:${n}`)))
  expect(shards.size).toBe(64)
  expect(['room:1', 'user:ada', ''].map(shardOf)).toMatchInlineSnapshot(`
    [
      35,
      4,
      5,
    ]
  `)
})

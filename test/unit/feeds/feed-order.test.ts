// The order of a channel's events, without a log and without a clock: events are heard and read in all orders.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { FeedEvent } from '../../../src/feeds/index.ts'
import { FeedOrder, type FeedStep } from '../../../src/feeds/feed-order.ts'

const eventAt = (offset: number, operationId = `operation ${offset}`): FeedEvent =>
  new FeedEvent({ channel: 'room:1', offset, operationId, type: 'counted', data: '{}', at: new Date(0) })

function createOrder() {
  const delivered: FeedEvent[] = []
  const order = new FeedOrder({
    deliveredAt: (offset) => delivered.find((event) => event.offset === offset),
    unreadableAfterMs: 10_000,
  })
  const take = (step: FeedStep): FeedStep => {
    if (step.step === 'deliver') delivered.push(...step.events)
    return step
  }
  return { order, take, offsets: () => delivered.map(({ offset }) => offset) }
}

/** News that a feed can get: an event heard, a head heard, or a page read from the log. */
const news = fc.oneof(
  fc.record({ kind: fc.constant('heard' as const), offset: fc.integer({ min: 1, max: 30 }) }),
  fc.record({ kind: fc.constant('head' as const), offset: fc.integer({ min: 1, max: 30 }) }),
  fc.record({ kind: fc.constant('read' as const), offset: fc.integer({ min: 1, max: 30 }) }),
)

it('delivers each offset once and without a hole, whatever is heard, repeated or read meanwhile', () => {
  fc.assert(
    fc.property(fc.array(news, { maxLength: 60 }), fc.array(news, { maxLength: 10 }), (all, early) => {
      const { order, take, offsets } = createOrder()
      const learn = ({ kind, offset }: (typeof all)[number]): void => {
        if (kind === 'heard') take(order.heard([eventAt(offset)]))
        else if (kind === 'head') order.headHeard(offset)
        else take(order.pageRead(offset - 1, [eventAt(offset), eventAt(offset + 1)]))
      }
      for (const one of early) if (one.kind !== 'read') learn(one)
      take(order.opened(3, 'a'))
      for (const one of all) learn(one)
      expect(offsets()).toEqual(offsets().map((_, index) => 4 + index))
      expect(order.position).toBe(3 + offsets().length)
    }),
  )
})

describe('what a feed finds out', () => {
  it('another event where one was delivered, and a head that went back, are another history', () => {
    const { order, take } = createOrder()
    take(order.opened(0, 'a'))
    take(order.heard([eventAt(1)]))
    expect(order.heard([eventAt(1)]).step).toBe('deliver')
    expect(order.heard([eventAt(1, 'another')]).step).toBe('replaced')
    expect(order.headRead(0, 1).step).toBe('replaced')
    expect(order.nothingBehind(1, 0).step).toBe('replaced')
  })

  it('nothing to read behind a hole means that everyone reloads, unless it was heard meanwhile', () => {
    const { order, take } = createOrder()
    take(order.opened(0, 'a'))
    order.headHeard(5)
    expect(order.pageRead(0, [])).toEqual({ step: 'readHead' })
    expect(order.nothingBehind(0, 5)).toEqual({ step: 'reload', position: 0, head: 5 })
    order.headHeard(6)
    take(order.heard([eventAt(6)]))
    expect(order.pageRead(5, [])).toEqual({ step: 'deliver', events: [] })
  })

  it('subscribers are notified of events that stay unread, and not of one read that failed', () => {
    const { order } = createOrder()
    expect(order.unread(1_000)).toBe(false)
    expect(order.unread(10_999)).toBe(false)
    expect(order.unread(11_000)).toBe(true)
    order.filled()
    expect(order.unread(12_000)).toBe(false)
  })
})

it('a join is recovered from its own history only, and from no further than a page', () => {
  const { order, take } = createOrder()
  take(order.opened(1_000, 'a'))
  expect(order.join(undefined)).toEqual({ step: 'answer', kind: 'fresh' })
  expect(order.join({ offset: 1_000, epoch: 'a' })).toEqual({ step: 'answer', kind: 'recovered' })
  expect(order.join({ offset: 990, epoch: '' })).toEqual({ step: 'recover', from: 990 })
  expect(order.join({ offset: 990, epoch: 'b' })).toEqual({ step: 'answer', kind: 'unrecoverable' })
  expect(order.join({ offset: 1, epoch: 'a' })).toEqual({ step: 'answer', kind: 'unrecoverable' })
  expect(order.isBehind({ offset: 1_001, epoch: 'a' })).toBe(true)
  expect(order.isBehind({ offset: 1_001, epoch: 'b' })).toBe(false)
  expect(order.join({ offset: 1_001, epoch: 'a' })).toEqual({ step: 'answer', kind: 'unrecoverable' })
})

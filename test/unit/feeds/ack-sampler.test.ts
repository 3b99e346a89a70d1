import { describe, expect, test } from 'vitest'
import { FeedEvent } from '../../../src/feeds/index.ts'
import type { StoredEvent } from '../../../src/log/index.ts'
import { AckSampler, type AckSampling } from '../../../src/feeds/ack-sampler.ts'
import { systemClock } from '../../../src/core/index.ts'
import { publicationOf } from '../../../src/gateway/wire/publications.ts'

const event: StoredEvent = {
  channel: 'room:1',
  offset: 7,
  operationId: '018f0000-0000-7000-8000-000000000000',
  type: 'note',
  data: '{"text":"hi"}',
  at: new Date('2026-01-01T00:00:00.000Z'),
}

function samplerAt(options?: AckSampling) {
  let elapsed = 5_000
  const sampler = new AckSampler({ ...systemClock, monotonic: () => elapsed }, options)
  return {
    chosen: (count: number, subscribers = 1) =>
      Array.from({ length: count }, () => sampler.tagsFor(event, subscribers)).filter(
        (tags) => tags !== undefined,
      ),
    tagsOf: (type: string) => sampler.tagsFor({ ...event, type }, 1),
    pass: (byMs: number) => (elapsed += byMs),
  }
}

describe('chooses', () => {
  test('the first event of a second, however few there are', () => {
    const sampler = samplerAt({ rate: 1e-12 })
    expect(sampler.chosen(1_000)).toEqual([{ ack: '1' }])
    sampler.pass(999)
    expect(sampler.chosen(1_000)).toEqual([])
    sampler.pass(1)
    expect(sampler.chosen(1_000)).toEqual([{ ack: '1' }])
  })

  test('about one in a hundred of the others', () => {
    // The mean is 1,000, and the standard deviation 31.5.
    const { length } = samplerAt({ perSecond: Infinity }).chosen(100_000)
    expect(length).toBeGreaterThan(800)
    expect(length).toBeLessThan(1_200)
  })

  test('no more than so many a second', () => {
    const sampler = samplerAt({ rate: 1 })
    expect(sampler.chosen(1_000)).toHaveLength(20)
    sampler.pass(1_000)
    expect(sampler.chosen(1_000)).toHaveLength(20)
  })

  test('nothing at a rate of 0', () => {
    expect(samplerAt({ rate: 0 }).chosen(10)).toEqual([])
  })

  test('no notice of a rollback', () => {
    const sampler = samplerAt({ rate: 1 })
    expect(sampler.tagsOf('transaction_rolled_back')).toBe(undefined)
    expect(sampler.tagsOf('note')).toEqual({ ack: '1' })
  })
})

test.each([
  [0, '1'],
  [1, '1'],
  [20, '1'],
  [40, '0.5'],
  [300, '0.067'],
  [5_000, '0.004'],
])('with %d subscribers each answers with probability %s', (subscribers, ack) => {
  expect(samplerAt({ rate: 1 }).chosen(1, subscribers)).toEqual([{ ack }])
})

test('tags stand in the live push alone, and change nothing else', () => {
  const plain = publicationOf(new FeedEvent(event))
  const tags = { ack: '0.5', traceparent: '00-"\\' }
  const { push, publication } = publicationOf(new FeedEvent(event, tags))
  expect(publication).toBe(plain.publication)
  const { pub } = (JSON.parse(push) as { push: { pub: object } }).push
  expect(pub).toEqual({ ...(JSON.parse(plain.publication) as object), tags })
  expect(push.replace(`,"tags":${JSON.stringify(tags)}`, '')).toBe(plain.push)
})

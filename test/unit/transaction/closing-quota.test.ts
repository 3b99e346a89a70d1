import { expect, it } from 'vitest'
import { ClosingQuota } from '../../../src/transaction/settle/closing-quota.ts'

function createQuota() {
  const time = { nowMs: 0 }
  const clock = { now: () => 0, monotonic: () => time.nowMs, after: () => () => {} }
  return { time, quota: new ClosingQuota(clock, { burst: 100, perSecond: 10 }) }
}

it('gives a burst, then what time earns, and never more than a burst', () => {
  const { time, quota } = createQuota()
  expect([quota.take('ada', 70), quota.take('ada', 70), quota.take('ada', 70)]).toEqual([70, 30, 0])
  time.nowMs += 1_550
  expect(quota.take('ada', 70)).toBe(15)
  time.nowMs += 50
  expect(quota.take('ada', 1)).toBe(1)
  time.nowMs += 3_600_000
  expect(quota.take('ada', 1_000)).toBe(100)
})

it('of one user is not spent by another', () => {
  const { quota } = createQuota()
  expect([quota.take('eve', 1_000), quota.take('ada', 100)]).toEqual([100, 100])
})

it('says when what was refused may be asked for again', () => {
  const { quota } = createQuota()
  expect([quota.waitMs(0), quota.waitMs(5), quota.waitMs(1_000_000)]).toEqual([0, 500, 10_000])
})

it('remembers so many users and no more', () => {
  const { quota } = createQuota()
  quota.take('first', 100)
  for (let n = 0; n < 10_000; n++) quota.take(`user${n}`, 100)
  expect([quota.take('first', 1), quota.take('user9999', 1)]).toEqual([1, 0])
})

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ClockAlignment, modeOfUser, modes, toRolloutSetting } from '../../../src/core/index.ts'

describe('a rollout by share of users', () => {
  const share = (percentage: number, operation = 'send_message', users = 10_000): number => {
    const setting = toRolloutSetting({ mode: 'enforce', percentage, otherwise: 'observe' })
    const chosen = Array.from({ length: users }, (_, n) => modeOfUser(setting, operation, `user${n}`))
    return chosen.filter((mode) => mode === 'enforce').length / users
  }

  it.each([0, 1, 10, 50, 90, 99, 100])('takes about %i in 100 of them', (percentage) => {
    expect(share(percentage)).toBeCloseTo(percentage / 100, 1.8)
  })

  it('keeps a user on its side while the share grows, and picks others for another operation', () => {
    const setting = (percentage: number) => toRolloutSetting({ mode: 'enforce', percentage })
    const sides = (operation: string): readonly string[] =>
      Array.from({ length: 200 }, (_, n) => modeOfUser(setting(50), operation, `user${n}`))
    expect(sides('a')).not.toEqual(sides('b'))
    fc.assert(
      fc.property(fc.string(), fc.integer({ min: 0, max: 99 }), (user, percentage) => {
        const before = modeOfUser(setting(percentage), 'a', user)
        expect(modeOfUser(setting(percentage), 'a', user)).toBe(before)
        const after = modeOfUser(setting(percentage + 1), 'a', user)
        expect([before, after]).not.toEqual(['enforce', 'off'])
      }),
    )
  })

  it('refuses what is no setting', () => {
    const bad: unknown[] = ['on', '', null, 7, {}, { mode: 'enforce', percentage: 101 }]
    bad.push({ mode: 'enforce', percentage: -1 }, { mode: 'enforce', percentage: NaN })
    bad.push({ mode: 'enforce', percentage: '50' }, { mode: 'enforce', otherwise: 'on' }, ['enforce'])
    for (const value of bad) {
      expect(() => toRolloutSetting(value as never)).toThrow(
        expect.objectContaining({ code: 'LS_CONFIG_INVALID' }),
      )
    }
    for (const mode of modes) {
      expect(toRolloutSetting(mode)).toEqual({ mode, percentage: 100, otherwise: 'off' })
    }
  })
})

describe('the alignment with the database', () => {
  it('is wrong by no more than it says, whatever the round trips and wherever in them the database looked', () => {
    const roundTrips = fc.array(
      fc.record({
        pauseMs: fc.nat(5_000),
        roundTripMs: fc.nat(500),
        part: fc.double({ min: 0, max: 1, noNaN: true }),
      }),
      { minLength: 1, maxLength: 50 },
    )
    fc.assert(
      fc.property(roundTrips, fc.integer(), (trips, offsetMs) => {
        const clock = new ClockAlignment()
        let now = 1_000
        for (const { pauseMs, roundTripMs, part } of trips) {
          const askedAt = now + pauseMs
          now = askedAt + roundTripMs
          clock.observe(askedAt, now, askedAt + part * roundTripMs + offsetMs)
        }
        expect(Math.abs(clock.toDatabaseMs(now) - (now + offsetMs))).toBeLessThanOrEqual(clock.errorMs + 1e-3)
      }),
    )
  })

  it('takes no answer that makes no sense', () => {
    const clock = new ClockAlignment()
    expect(clock.errorMs).toBe(Number.POSITIVE_INFINITY)
    clock.observe(10, 12, 1_011)
    for (const wrong of [NaN, Infinity, -Infinity]) clock.observe(20, 22, wrong)
    clock.observe(20, 19, 5)
    expect(clock.toDatabaseMs(11)).toBe(1_011)
    expect(clock.errorMs).toBe(1)
  })
})

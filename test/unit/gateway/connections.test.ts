import { expect, test } from 'vitest'
import { Connections } from '../../../src/gateway/crowd/connections.ts'
import { Pace } from '../../../src/gateway/crowd/pace.ts'
import { Strain } from '../../../src/gateway/crowd/strain.ts'
import { resolveOptions, type GatewayOptions } from '../../../src/gateway/contract/gateway-options.ts'

/** A clock whose one timer the test fires, at the time it says. */
class OneTimer {
  time = 0
  work: (() => void) | undefined
  readonly clock = {
    now: () => this.time,
    monotonic: () => this.time,
    after: (_delayMs: number, work: () => void) => {
      this.work = work
      return () => {
        this.work = undefined
      }
    },
  }

  fireAt(time: number): void {
    this.time = time
    this.work?.()
  }
}

function connections(options: Partial<GatewayOptions> = {}): {
  timer: OneTimer
  all: Connections<{ tick(): void }>
} {
  const timer = new OneTimer()
  const settings = resolveOptions({ ...options, ports: {} as GatewayOptions['ports'], clock: timer.clock })
  return { timer, all: new Connections(settings) }
}

test('after a pause of the process peers get one more round before they are looked at', () => {
  const { timer, all } = connections()
  const ticks: number[] = []
  all.add({ tick: () => ticks.push(timer.time) })
  for (const time of [1_000, 2_000, 60_000, 61_000, 120_000, 180_000, 240_000]) timer.fireAt(time)
  // A loop that is always late passes over every second round at most.
  expect(ticks).toEqual([1_000, 2_000, 61_000, 180_000])
})

test('no timer runs while there is nobody', async () => {
  const { timer, all } = connections()
  const one = { tick: () => {} }
  expect(timer.work).toBeUndefined()
  all.add(one)
  expect(timer.work).toBeDefined()
  const empty = all.empty()
  all.remove(one)
  await empty
  expect(timer.work).toBeUndefined()
})

test('a user may have as many connections as one may have', () => {
  const { all } = connections({ limits: { maxConnectionsPerUser: 2 } })
  const admitted = (...users: readonly string[]) => users.map((user) => all.admit(user) !== undefined)
  expect(admitted('ann', 'ann', 'ann', 'bob')).toEqual([true, true, false, true])
  all.release('ann')
  expect(admitted('ann', 'ann')).toEqual([true, false])
  all.release('ann')
  all.release('ann')
  expect(admitted('ann', 'ann', 'ann')).toEqual([true, true, false])
})

test('a user without a connection is remembered until their pace is restored, and ten thousand are at most', () => {
  const { all, timer } = connections()
  all.add({ tick: () => {} })
  const sendMuch = (id: string): unknown => {
    const user = all.admit(id)
    if (user !== undefined) user.pace ??= new Pace(new Strain(timer.clock, 10), timer.time)
    user?.pace?.charge(20, timer.time)
    all.release(id)
    return user
  }
  const ann = sendMuch('ann')
  expect(all.admit('ann')).toBe(ann)
  all.release('ann')
  timer.fireAt(1_999)
  expect(all.admit('ann')).toBe(ann)
  all.release('ann')
  timer.fireAt(2_000)
  const anew = sendMuch('ann')
  expect(anew).not.toBe(ann)
  for (let n = 0; n < 10_000; n += 1) sendMuch(`user${n}`)
  expect(all.admit('user0')).toMatchObject({ connections: 1, pace: expect.anything() })
  expect(all.admit('ann')).toEqual({ connections: 1, pace: undefined })
})

test('connections of one user share how fast they are read, and those of another do not', () => {
  const { all } = connections()
  const ann = all.admit('ann')
  expect(all.admit('ann')).toBe(ann)
  expect(all.admit('bob')).not.toBe(ann)
})

test.each([
  { path: 'ws' },
  { path: '/ws?x' },
  { pingIntervalMs: 5_000, pongTimeoutMs: 5_000 },
  { pingIntervalMs: 0 },
  { reauthorizeMs: -1 },
  { limits: { maxConnections: -1 } },
  { limits: { maxQueuedBytes: Number.NaN } },
])('configuration refused: %j', (options) => {
  expect(() => connections(options)).toThrow(expect.objectContaining({ code: 'LS_CONFIG_INVALID' }))
})

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  Admission,
  isLockstepError,
  LockstepError,
  type AdmissionOptions,
  type Turn,
} from '../../../src/core/index.ts'
import { ManualClock } from '../../support/manual-clock.ts'

interface Asked {
  readonly user: string
  readonly number: number
  readonly turn: Turn
  state: 'waiting' | 'held' | 'ended' | 'refused'
}

/** Creates a gate, and notes its requests in the order in which slots were granted. */
function createGate(options: Partial<AdmissionOptions> & { readonly slots: number }) {
  const clock = new ManualClock()
  const admission = new Admission({ clock, ...options })
  const granted: Asked[] = []
  const settle = async (slot: Promise<void>, asked: Asked): Promise<void> => {
    try {
      await slot
      asked.state = 'held'
      granted.push(asked)
    } catch {
      asked.state = 'refused'
    }
  }
  let number = 0
  return {
    clock,
    admission,
    granted,
    ask(user: string): Asked {
      const turn = admission.ask(user)
      const asked: Asked = { user, number: (number += 1), turn, state: 'held' }
      if (turn.granted === undefined) granted.push(asked)
      else {
        asked.state = 'waiting'
        void settle(turn.granted, asked)
      }
      return asked
    },
    /** Gives the slot back after so long, and lets the next request have it. */
    async end(asked: Asked, afterMs = 0): Promise<void> {
      clock.advance(afterMs)
      asked.state = 'ended'
      asked.turn.end()
      await Promise.resolve()
    },
  }
}

const refusal = (ask: () => unknown): LockstepError => {
  try {
    ask()
  } catch (error) {
    if (isLockstepError(error, 'LS_NODE_OVERLOADED')) return error
    throw error
  }
  throw new Error('it was not refused')
}

/** Returns the grant; undefined where the request was refused. */
const tryTo = <T>(ask: () => T): T | undefined => {
  try {
    return ask()
  } catch (error) {
    expect(isLockstepError(error, 'LS_NODE_OVERLOADED')).toBe(true)
    return undefined
  }
}

/** Runs work of these users that takes no time, so that they are known to be quick. */
const proven = (gate: ReturnType<typeof createGate>, ...users: readonly string[]): void => {
  for (const user of users) gate.admission.ask(user).end()
}

describe('admission to few slots', () => {
  test('gives a free slot at once, without a promise', () => {
    const gate = createGate({ slots: 2 })
    expect(gate.ask('ada').turn.granted).toBe(undefined)
    expect(gate.ask('bob').turn.granted).toBe(undefined)
    expect(gate.ask('cy').turn.granted).toBeInstanceOf(Promise)
    expect(gate.admission.waiting).toBe(1)
  })

  test('users take turns, each with what they asked for first', async () => {
    const gate = createGate({ slots: 1 })
    proven(gate, 'eve', 'ada', 'bob')
    let held = gate.ask('eve')
    for (const user of ['eve', 'eve', 'eve', 'ada', 'ada', 'bob']) gate.ask(user)
    while (gate.granted.length < 7) {
      await gate.end(held, 1)
      held = gate.granted.at(-1) ?? held
    }
    expect(gate.granted.map(({ user, number }) => `${user} ${number}`)).toEqual([
      'eve 1',
      'ada 5',
      'bob 7',
      'ada 6',
      'eve 2',
      'eve 3',
      'eve 4',
    ])
  })

  test('whoever had nothing lately waits for one grant, however many always want more', async () => {
    const gate = createGate({ slots: 1 })
    const greedy = Array.from({ length: 20 }, (_, n) => `eve${n}`)
    proven(gate, 'ada', ...greedy)
    let held = gate.ask('eve0')
    for (const user of greedy) for (let n = 0; n < 20; n += 1) gate.ask(user)
    // Runs a round, after which all of the users have been served.
    for (let n = 0; n < 60; n += 1) {
      await gate.end(held, 1)
      held = gate.granted.at(-1) ?? held
    }
    gate.ask('ada')
    await gate.end(held, 1)
    expect(gate.granted.at(-1)?.user).toBe('ada')
  })

  test('many users who ask now and then are all served before those who always want more', async () => {
    const gate = createGate({ slots: 2 })
    const [greedy, light] = [['eve', 'mallory', 'trudy'], Array.from({ length: 20 }, (_, n) => `ada${n}`)]
    proven(gate, ...greedy, ...light)
    for (const user of greedy) for (let n = 0; n < 100; n += 1) gate.ask(user)
    const grantNext = async (count: number): Promise<readonly string[]> => {
      const before = gate.granted.length
      for (let n = 0; n < count; n += 1) {
        const held = gate.granted.find(({ state }) => state === 'held')
        if (held !== undefined) await gate.end(held, 5)
      }
      return gate.granted.slice(before).map(({ user }) => user)
    }
    await grantNext(50)
    for (const user of light) gate.ask(user)
    expect(new Set(await grantNext(20))).toEqual(new Set(light))
    // The others have the slots again afterwards, in equal shares.
    const served = await grantNext(30)
    for (const user of greedy) expect(served.filter((one) => one === user)).toHaveLength(10)
  })

  test('where all users are alike and have much open, the slots stay in use and nobody is refused', async () => {
    const gate = createGate({ slots: 10 })
    const users = Array.from({ length: 13 }, (_, n) => `user${n}`)
    proven(gate, ...users)
    const asked = users.flatMap((user) => Array.from({ length: 16 }, () => gate.ask(user)))
    const held = (): readonly Asked[] => asked.filter(({ state }) => state === 'held')
    for (let n = 0; n < 20; n += 1) {
      for (const one of held()) await gate.end(one, 4)
      expect(held().length).toBeGreaterThanOrEqual(asked.some(({ state }) => state === 'waiting') ? 9 : 0)
    }
    expect(asked.filter(({ state }) => state === 'refused')).toEqual([])
    const shares = users.map(
      (user) => asked.filter((one) => one.user === user && one.state === 'ended').length,
    )
    expect(Math.max(...shares) - Math.min(...shares)).toBeLessThanOrEqual(3)
  })

  test('an honest user whose first call took long gets the last free slot, and one who is known to be slow does not', async () => {
    const gate = createGate({ slots: 4 })
    await gate.end(gate.ask('mallory'), 2_000)
    const held = Array.from({ length: 3 }, () => gate.ask('eve')).filter(({ state }) => state === 'held')
    expect(held).toHaveLength(3)
    gate.clock.advance(500)
    await gate.end(gate.ask('ada'), 300)
    expect(gate.ask('mallory').state).toBe('waiting')
    expect(gate.ask('ada').state).toBe('held')
  })

  test('where all work takes long for a moment, nobody is slow for long, and nobody is refused', async () => {
    const gate = createGate({ slots: 10 })
    const users = Array.from({ length: 13 }, (_, n) => `user${n}`)
    for (let n = 0; n < 50; n += 1) for (const user of users) await gate.end(gate.ask(user), 5)
    const asked = users.flatMap((user) => Array.from({ length: 15 }, () => gate.ask(user)))
    const held = (): readonly Asked[] => asked.filter(({ state }) => state === 'held')
    // The machine stands still, and then goes on.
    gate.clock.advance(2_000)
    for (let n = 0; n < 60; n += 1) for (const one of held()) await gate.end(one, 5)
    expect(asked.filter(({ state }) => state !== 'ended')).toEqual([])
    const again = users.flatMap((user) => Array.from({ length: 15 }, () => gate.ask(user)))
    expect(again.filter(({ state }) => state === 'held').length).toBeGreaterThanOrEqual(9)
  })

  test('of the last free slot nobody gets a second: ten long calls of one who was quick leave it to others', async () => {
    const gate = createGate({ slots: 10 })
    proven(gate, 'eve', 'ada')
    const asked = Array.from({ length: 10 }, () => gate.ask('eve'))
    expect(asked.filter(({ state }) => state === 'held')).toHaveLength(9)
    const ada = gate.ask('ada')
    expect(ada.state).toBe('held')
    await gate.end(ada, 3)
    gate.clock.advance(6_000)
    expect(gate.ask('ada').state).toBe('held')
  })

  test('slow work of any number of users leaves half of the slots to others', async () => {
    const gate = createGate({ slots: 10 })
    const slow = Array.from({ length: 4 }, (_, n) => `eve${n}`)
    for (const user of slow) await gate.end(gate.ask(user), 5_000)
    const asked = slow.flatMap((user) => Array.from({ length: 20 }, () => tryTo(() => gate.ask(user))))
    // Requests that would wait for minutes were refused.
    expect(asked.length).toBe(80)
    expect(gate.admission.waiting).toBeLessThan(30)
    expect(asked.filter((one) => one?.state === 'held').length).toBe(5)
    const served = new Set(asked.filter((one) => one?.state === 'held').map((one) => one?.user))
    expect(served.size).toBeGreaterThan(1)
    for (const user of ['ada', 'bob', 'cy', 'dan', 'fay']) expect(gate.ask(user).state).toBe('held')
  })

  test('nobody has to be known: a stranger gets one slot at once, and no more than half before work has ended', () => {
    const gate = createGate({ slots: 10 })
    const asked = Array.from({ length: 20 }, () => gate.ask('eve'))
    const held = asked.filter(({ state }) => state === 'held').length
    expect(held).toBeGreaterThan(1)
    expect(held).toBeLessThanOrEqual(6)
  })

  test('a user whose work is quick may have every slot but one in eight', async () => {
    for (const [slots, most] of [
      [1, 1],
      [7, 7],
      [10, 9],
      [40, 35],
    ] as const) {
      const gate = createGate({ slots })
      await gate.end(gate.ask('ada'), 3)
      const asked = Array.from({ length: slots }, () => gate.ask('ada'))
      expect(asked.filter(({ state }) => state === 'held')).toHaveLength(most)
    }
  })

  test('where all work takes long, nobody is slow', async () => {
    const gate = createGate({ slots: 10 })
    for (let n = 0; n < 200; n += 1) await gate.end(gate.ask('ada'), 400)
    const asked = Array.from({ length: 10 }, () => gate.ask('ada'))
    expect(asked.filter(({ state }) => state === 'held')).toHaveLength(9)
  })

  test('work that looked quick counts as slow once it has run for long', async () => {
    const gate = createGate({ slots: 4 })
    proven(gate, 'eve', 'ada', 'bob')
    gate.ask('eve')
    gate.ask('eve')
    gate.clock.advance(1_000)
    expect(gate.ask('eve').state).toBe('waiting')
    expect(gate.ask('ada').state).toBe('held')
    expect(gate.ask('bob').state).toBe('held')
  })

  test('a question that could not be served in time is refused at once, with when to come again', async () => {
    const gate = createGate({ slots: 2, maxWaitMs: 1_000 })
    for (let n = 0; n < 3; n += 1) await gate.end(gate.ask('eve'), 4_000)
    gate.ask('eve')
    expect(gate.ask('ada').state).toBe('held')
    // The first request that a user waits for is served in turn.
    expect(gate.ask('eve').state).toBe('waiting')
    const { retryAfterMs } = refusal(() => gate.ask('eve')).details
    expect(retryAfterMs).toBeGreaterThan(1_000)
    expect(retryAfterMs).toBeLessThanOrEqual(10_000)
  })

  test('what waits in all bounds the wait that is expected: a second question is not refused for turns that nobody takes', async () => {
    const gate = createGate({ slots: 4, maxWaitMs: 5_000 })
    // Work usually takes 800 ms here.
    for (let n = 0; n < 200; n += 1) await gate.end(gate.ask(`earlier ${n}`), 800)
    for (let n = 0; n < 4; n += 1) gate.ask(`holder ${n}`)
    for (let n = 0; n < 19; n += 1) gate.ask(`waiting ${n}`)
    gate.ask('ada')
    expect(gate.ask('ada').state).toBe('waiting')
  })

  test('whoever has waited as long as one may is refused, and those behind them later', async () => {
    const gate = createGate({ slots: 1, maxWaitMs: 1_000 })
    proven(gate, 'ada')
    gate.ask('eve')
    const first = gate.ask('ada')
    gate.clock.advance(600)
    const second = gate.ask('ada')
    gate.clock.advance(400)
    await Promise.resolve()
    expect([first.state, second.state]).toEqual(['refused', 'waiting'])
    first.turn.end()
    gate.clock.advance(600)
    await Promise.resolve()
    expect(second.state).toBe('refused')
    expect(gate.admission.waiting).toBe(0)
  })

  test('one user may have so many open, and at most as many as are left for others', () => {
    const perUser = createGate({ slots: 100, maxOpenPerUser: 3 })
    for (let n = 0; n < 3; n += 1) perUser.ask('eve')
    refusal(() => perUser.ask('eve'))
    perUser.ask('ada')

    const perNode = createGate({ slots: 100, maxOpen: 10 })
    proven(perNode, 'eve', 'bob')
    const openOf = (user: string): number => {
      for (let n = 0; ; n += 1) if (tryTo(() => perNode.ask(user)) === undefined) return n
    }
    expect([openOf('eve'), openOf('bob')]).toEqual([5, 3])
    perNode.ask('ada')
    expect(perNode.admission.refused).toBe(2)
  })

  test('all that waits can be refused, with a reason, and what holds a slot goes on', async () => {
    const gate = createGate({ slots: 1 })
    const held = gate.ask('ada')
    const waiting = gate.ask('bob')
    gate.admission.refuseWaiting(new LockstepError('LS_NODE_STOPPING'))
    await expect(waiting.turn.granted).rejects.toMatchObject({ code: 'LS_NODE_STOPPING' })
    expect(held.state).toBe('held')
    waiting.turn.end()
    held.turn.end()
    held.turn.end()
    expect(gate.ask('cy').state).toBe('held')
    expect(gate.ask('dan').state).toBe('waiting')
  })

  const steps = fc.array(
    fc.oneof(
      fc.record({ kind: fc.constant('ask' as const), user: fc.nat(5) }),
      fc.record({ kind: fc.constant('end' as const), which: fc.nat(40) }),
      fc.record({ kind: fc.constant('wait' as const), ms: fc.constantFrom(1, 20, 300, 2_000) }),
    ),
    { maxLength: 150 },
  )

  test('whatever is asked and ended: bounds hold, each user is served in order, and nobody is left', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 5 }), steps, async (slots, commands) => {
        const maxWaitMs = 3_000
        const gate = createGate({ slots, maxOpen: 40, maxOpenPerUser: 12, maxWaitMs })
        const all: Asked[] = []
        const of = (state: Asked['state']) => all.filter((one) => one.state === state)
        for (const command of commands) {
          if (command.kind === 'wait') gate.clock.advance(command.ms)
          else if (command.kind === 'end') {
            const open = all.filter(({ state }) => state !== 'ended')
            const chosen = open[command.which % Math.max(1, open.length)]
            if (chosen !== undefined) await gate.end(chosen)
          } else {
            const asked = tryTo(() => gate.ask(`user${command.user}`))
            if (asked !== undefined) all.push(asked)
          }
          await Promise.resolve()
          expect(of('held').length).toBeLessThanOrEqual(slots)
          expect(of('waiting').length).toBe(gate.admission.waiting)
          for (let user = 0; user <= 5; user += 1) {
            const open = all.filter((one) => one.user === `user${user}` && one.state !== 'ended')
            expect(open.length).toBeLessThanOrEqual(12)
            const order = gate.granted.filter((one) => one.user === `user${user}`).map(({ number }) => number)
            expect(order).toEqual(order.toSorted((a, b) => a - b))
          }
        }
        // No user starves: as slots come back, all waiting requests are granted.
        for (let { length } = all; length >= 0; length -= 1) {
          for (const one of of('held')) await gate.end(one)
        }
        expect(of('waiting')).toEqual([])
        for (const one of of('refused')) one.turn.end()
        expect(Array.from({ length: slots }, (_, n) => gate.ask(`new${n}`).state)).toEqual(
          Array.from({ length: slots }, () => 'held'),
        )
      }),
      { numRuns: 1000 },
    )
  })
})

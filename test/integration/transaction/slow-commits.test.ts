// Settlements beside COMMITs that take longer than a settlement waits for any lock, as on slow disks, or with a synchronous
// standby far away.
import { afterAll, beforeAll, expect, it } from 'vitest'
import { createSettlementsWorld, keyOf, noticeFor, type SettlementsWorld } from '../../support/settlements.ts'

const commitMs = 120

let world: SettlementsWorld

beforeAll(async () => {
  world = await createSettlementsWorld()
  // The locks of a transaction are held until its COMMIT has ended, which a deferred trigger makes slow.
  await world.pool.query(`
    create function slow_commit() returns trigger language plpgsql as
      $$ begin perform pg_catalog.pg_sleep(${commitMs / 1_000}); return null; end $$;
    create constraint trigger slow_commit after insert on lockstep.operations deferrable initially deferred
      for each row when (new.state = 'committed') execute function slow_commit()`)
})
afterAll(() => world.close())

/** Commits operations one behind the other, each with an event in the channel, from so many connections until `end`. */
function commitSteadily(channel: string, connections: number) {
  const over = new AbortController()
  let commits = 0
  const each = async (): Promise<void> => {
    while (!over.signal.aborted) {
      const flush = await world.openFlush(keyOf('writer'), [{ channel, type: 'noted', data: '1' }])
      await flush.end('commit')
      commits += 1
    }
  }
  const running = Promise.all(Array.from({ length: connections }, each))
  return {
    commits: () => commits,
    async end(): Promise<void> {
      over.abort()
      await running
    },
  }
}

const signal = new AbortController().signal

it.each([1, 3])(
  'outcomes arrive where the head of their channel is never free for long: %i connections commit there',
  async (connections) => {
    const { settler } = world.createSettler()
    const user = `user${connections}`
    const writers = commitSteadily(`user:${user}`, connections)
    // Settle until eight outcomes have arrived beside at least eight COMMITs.
    for (let n = 0; n < 8 || writers.commits() < 8; n += 1) {
      const held = keyOf(user)
      const settled = settler.settleUntilKnown(held, noticeFor(held), { signal, mode: 'enforce' })
      expect(await settled).toMatchObject({ state: 'rolled_back' })
    }
    await writers.end()
  },
  60_000,
)

it('settlements of others go on while many COMMITs are in flight, whose outcomes arrive as well', async () => {
  const { settler } = world.createSettler()
  const inFlight = Array.from({ length: 6 }, (_, n) => keyOf(`slow${n}`))
  const flushes = await Promise.all(inFlight.map((key) => world.openFlush(key, [])))
  const flights = Promise.all(flushes.map((flush) => flush.end('commit')))
  const slow = inFlight.map((key) =>
    settler.settleUntilKnown(key, noticeFor(key), { signal, mode: 'enforce' }),
  )
  const began = performance.now()
  const others = Array.from({ length: 100 }, (_, n) => keyOf(`quick${n}`))
  await Promise.all(others.map((key) => settler.settle(key, noticeFor(key))))
  // The six COMMITs alone would take as long, one behind the other.
  expect(performance.now() - began).toBeLessThan(6 * commitMs)
  await flights
  expect((await Promise.all(slow)).map(({ state }) => state)).toEqual(inFlight.map(() => 'committed'))
})

import { afterEach, expect, test } from 'vitest'
import { WorkClock } from '../../support/work-clock.ts'
import { RawClient, startWorld, type World } from './harness.ts'

let worlds: World[] = []
afterEach(async () => {
  await Promise.all(worlds.splice(0).map((started) => started.stop()))
})

async function clocked(
  options: Parameters<typeof startWorld>[0] = {},
): Promise<{ clock: WorkClock; at: World }> {
  const clock = new WorkClock()
  const at = await startWorld({ pingIntervalMs: 600_000, ...options, clock })
  worlds.push(at)
  return { clock, at }
}

const pings = (first: number, count: number) =>
  Array.from({ length: count }, (_, n) => ({ id: first + n, ping: {} }))

test('while the loop has no time, a user who sends far more than others is read more slowly, and the others are not', async () => {
  const { clock, at } = await clocked()
  const [many, few] = [await RawClient.connect(at, 'ann'), await RawClient.connect(at, 'bob')]
  many.send(...pings(100, 300))
  await many.take(300)
  few.send(...pings(100, 5))
  await few.take(5)
  clock.pass(6_000, 1)
  // The gateway reads as many as a page may need at once, and those behind wait in the socket.
  for (const ping of pings(1_000, 300)) many.send(ping)
  expect((await many.take(257)).at(-1)).toMatchObject({ id: 1_256 })
  few.send(...pings(200, 20))
  await few.take(20)
  await few.settled()
  expect(many.messages.at(-1)?.at(-1)).toMatchObject({ id: 1_256 })
  clock.pass(1_000, 1)
  expect(await many.take(5)).toHaveLength(5)
  // The loop has time again.
  clock.pass(30_000, 0.1)
  expect((await many.take(38)).at(-1)).toMatchObject({ id: 1_299 })
})

test('where all users send as much, they are read as fast as ever while the loop has no time', async () => {
  const { clock, at } = await clocked()
  const clients = [await RawClient.connect(at, 'ann'), await RawClient.connect(at, 'bob')]
  for (let second = 0; second < 10; second += 1) {
    clock.pass(1_000, 1)
    for (const client of clients) {
      client.send(...pings(1_000 * second + 2, 500))
      expect(await client.take(500)).toHaveLength(500)
    }
  }
})

test('a long answer counts for more commands than one', async () => {
  const { clock, at } = await clocked({ limits: { maxCommandsPerSecond: 10 } })
  at.methods.set('read', () => Promise.resolve('x'.repeat(320 * 1_024)))
  const client = await RawClient.connect(at, 'ann')
  // Each call costs eleven, of a burst of fifty.
  for (let id = 2; id < 7; id += 1) await client.ask({ id, rpc: { method: 'read' } })
  client.send({ id: 20, ping: {} })
  const other = await RawClient.connect(at, 'bob')
  await other.settled()
  expect(client.messages.at(-1)).toMatchObject([{ id: 6 }])
  clock.advance(1_000)
  expect(await client.take(1)).toMatchObject([{ id: 20, ping: {} }])
})

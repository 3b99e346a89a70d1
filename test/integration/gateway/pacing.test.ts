// A recovery that is longer than what may wait for one connection, against sockets that are read slowly or not at all.
import { afterEach, expect, test } from 'vitest'
import { RawClient, startWorld, type Frame, type World } from './harness.ts'
import { ManualClock } from '../../support/manual-clock.ts'

interface Publication {
  readonly offset: number
  readonly data: { readonly data: unknown }
}
interface Received extends Frame {
  readonly subscribe?: { readonly recovered?: boolean; readonly publications?: readonly Publication[] }
  readonly push?: { readonly channel: string; readonly pub: Publication }
}

const rooms = Array.from({ length: 60 }, (_, n) => `room:${n}`)
const eventsOfRoom = 4
const recover = { recover: true, offset: 0, epoch: 'e1' }
const subscribeAll = rooms.map((channel, n) => ({ id: 100 + n, subscribe: { channel, ...recover } }))

let worlds: World[] = []
afterEach(async () => {
  await Promise.all(worlds.splice(0).map((started) => started.stop()))
})

async function world(options: Parameters<typeof startWorld>[0]): Promise<World> {
  const started = await startWorld(options)
  worlds.push(started)
  return started
}

function fill({ events }: World, bytes: number): void {
  for (const room of rooms) {
    for (let n = 0; n < eventsOfRoom; n += 1) events.append(room, 'x'.repeat(bytes))
  }
}

/** Resolves when more than this waits for peers; the requests of the other peer let the gateway work on. */
async function untilQueued({ gateway }: World, bytes: number, other: RawClient): Promise<void> {
  while (gateway.outboundBytes() <= bytes) await other.ask({ id: 1, ping: {} })
}

/** Takes one message in a turn of the loop, as a peer on a thin line. */
function readSlowly({ socket }: RawClient): void {
  socket.on('message', () => {
    socket.pause()
    setImmediate(() => socket.resume())
  })
}

test.each([
  ['1 MiB', 1024 * 1024, 75_000],
  ['32 KiB', 32 * 1024, 3_000],
])(
  'with %s that may wait, a slow reader recovers 60 channels over one connection, once and in order',
  async (_name, maxQueuedBytes, eventBytes) => {
    const at = await world({ limits: { maxQueuedBytes } })
    fill(at, eventBytes)
    const slow = await RawClient.connect(at, 'ann')
    const other = await RawClient.connect(at, 'bob')
    await slow.ask({ id: 2, subscribe: { channel: 'room:live' } })
    const closed = slow.closed.then(({ code }): never => expect.unreachable(`closed with ${code}`))
    readSlowly(slow)
    slow.socket.pause()
    slow.send(...subscribeAll)
    // The server has read all commands, and has more to answer than the peer takes.
    while (at.events.joins < 16) await other.ask({ id: 1, ping: {} })
    for (let n = 0; n < 3; n += 1) at.events.append('room:live', n)
    at.events.append('room:59', 'came meanwhile')
    slow.socket.resume()
    const seen = new Map<string, number[]>()
    const replies: number[] = []
    const live: unknown[] = []
    while (replies.length < rooms.length || live.length < 3 || seen.get('room:59')?.length !== 5) {
      const frame = (await Promise.race([slow.next(), closed])) as Received
      if (frame.push?.channel === 'room:live') live.push(frame.push.pub.data.data)
      else if (frame.push !== undefined) seen.get(frame.push.channel)?.push(frame.push.pub.offset)
      if (frame.id === undefined) continue
      replies.push(frame.id)
      expect(frame.subscribe?.recovered).toBe(true)
      seen.set(
        rooms[frame.id - 100] ?? '',
        (frame.subscribe?.publications ?? []).map(({ offset }) => offset),
      )
    }
    expect(replies).toEqual(subscribeAll.map(({ id }) => id))
    expect(live).toEqual([0, 1, 2])
    const expected = rooms.map((room) => [room, room === 'room:59' ? [1, 2, 3, 4, 5] : [1, 2, 3, 4]])
    expect([...seen]).toEqual(expected)
  },
)

test('a peer that takes nothing of its recovery for as long as a pong may take is closed with 3008', async () => {
  const clock = new ManualClock()
  const at = await world({ clock })
  fill(at, 75_000)
  const stuck = await RawClient.connect(at, 'ann')
  const other = await RawClient.connect(at, 'bob')
  stuck.socket.pause()
  stuck.send(...subscribeAll)
  await untilQueued(at, 256 * 1024, other)
  const before = at.events.joins
  expect(before).toBeLessThan(rooms.length)
  clock.advance(7_000)
  await other.ask({ id: 2, ping: {} })
  expect(at.gateway.outboundBytes()).toBeGreaterThan(256 * 1024)
  expect(at.events.joins).toBe(before)
  expect(at.events.subscribersOf('room:0')).toBe(1)
  clock.advance(3_000)
  stuck.socket.resume()
  expect(await stuck.closed).toEqual({ code: 3008, reason: 'slow consumer' })
})

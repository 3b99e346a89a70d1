// A right that is taken away between an event's commit and its way to the peer (I8): what was committed before may
// still arrive, nothing newer does.
import { createServer } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { z } from 'zod'
import { signToken, type Lockstep, type Revocation, type PgDatabase } from '../../../src/index.ts'
import { centrifuge, connected, listen } from '../../support/sockets.ts'
import { createWorld, secret, type World } from '../../support/world.ts'
import { RawClient, type Frame } from '../gateway/harness.ts'

const members = new Set<string>()
const declareClub = (lockstep: Lockstep<PgDatabase>) =>
  lockstep.channel('club:{id}', {
    events: { said: z.object({ text: z.string() }) },
    canSubscribe: ({ user }) => members.has(user.id),
  })
let club: ReturnType<typeof declareClub>
const channel = 'club:hall'
/** The server's ends of all connections, in the order of their making. */
const sockets: Socket[] = []
const server = createServer()
let world: World
let url = ''

beforeAll(async () => {
  world = await createWorld({
    declare: (lockstep) => void (club = declareClub(lockstep)),
    gateway: { limits: { maxQueuedBytes: 256 * 1024 * 1024 } },
  })
  world.lockstep.attach(server)
  server.on('connection', (socket) => sockets.push(socket))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  url = `ws://127.0.0.1:${(server.address() as AddressInfo).port}/lockstep/ws`
})
afterAll(async () => {
  await world.close()
  await new Promise((resolve) => server.close(resolve))
})

const say = (text: string): Promise<void> =>
  world.lockstep.transaction({ name: 'say', user: 'writer' }, async (tx) => {
    tx.emit(club({ id: 'hall' }), 'said', { text })
  })

/** Texts of the events that a peer received. */
function texts(frames: readonly Frame[]): string[] {
  return frames.flatMap((frame) => {
    const { push } = frame as { push?: { pub?: { data: { data: { text: string } } } } }
    return push?.pub === undefined ? [] : [push.pub.data.data.text]
  })
}

/** A member who does not read, for whom events wait in this process when the right is revoked, and who reads then. */
async function revokeBehind(revocation: Revocation): Promise<{ client: RawClient; older: string[] }> {
  const { user } = revocation
  members.add(user)
  const client = await RawClient.open(url)
  const socket = sockets.at(-1) as Socket
  await client.ask({ id: 1, connect: { token: await signToken(secret, user, 600) } })
  await client.ask({ id: 2, subscribe: { channel } })
  client.socket.pause()
  const older: string[] = []
  const add = async (text: string): Promise<void> => {
    older.push(text)
    await say(text)
  }
  // Fills the socket until the kernel takes no more.
  while (socket.writableLength === 0) await add(`old ${older.length} ${'.'.repeat(200_000)}`)
  await add('the last one before')
  members.delete(user)
  await world.lockstep.revoke(revocation)
  expect(socket.writableLength).toBeGreaterThan(0)
  await say('newer')
  client.socket.resume()
  return { client, older }
}

test('a channel of a reader who is behind: what is older arrives, then the end, and nothing newer', async () => {
  const { client, older } = await revokeBehind({ user: 'ann', channel })
  await client.settled()
  const frames = client.messages.flat()
  const ended = frames.findIndex(({ push }) => Object.hasOwn(Object(push) as object, 'unsubscribe'))
  expect(frames[ended]).toMatchObject({ push: { channel, unsubscribe: { code: 2000 } } })
  expect(texts(frames.slice(0, ended))).toEqual(older)
  expect(texts(frames)).toEqual(older)
  client.socket.close()
})

test('a user who is behind: what is older arrives, then the close, and nothing newer', async () => {
  const { client, older } = await revokeBehind({ user: 'ben' })
  expect(await client.closed).toEqual({ code: 3507, reason: 'revoked' })
  expect(texts(client.messages.flat())).toEqual(older)
})

test('a client that is away just then: its resume from an old offset is refused, and nothing arrives', async () => {
  members.add('cat')
  const client = centrifuge(url, 'cat')
  await connected(client)
  const socket = sockets.at(-1) as Socket
  const { subscription, inbox } = await listen(client, channel)
  await say('for members')
  await inbox.until((items) => items.length === 1)
  const ended = new Promise<unknown>((resolve) => subscription.once('unsubscribed', resolve))
  members.delete('cat')
  socket.destroy()
  await world.lockstep.revoke({ user: 'cat', channel })
  await say('missed, and not for it')
  expect(await ended).toMatchObject({ code: 103 })
  await say('newer')
  await client.rpc('lockstep.outcomes', { ids: [] })
  expect(inbox.items).toHaveLength(1)
  client.disconnect()
})

test('what is given back before the revocation is in the log stays: this node has acted on it already', async () => {
  members.add('dan')
  const client = await RawClient.open(url)
  await client.ask({ id: 1, connect: { token: await signToken(secret, 'dan', 600) } })
  await client.ask({ id: 2, subscribe: { channel } })
  const held = await Promise.all(Array.from({ length: world.pool.options.max }, () => world.pool.connect()))
  const revoking = world.lockstep.revoke({ user: 'dan', channel })
  expect(await client.next()).toMatchObject({ push: { channel, unsubscribe: { code: 2000 } } })
  expect(await client.ask({ id: 3, subscribe: { channel } })).toMatchObject({ id: 3, subscribe: {} })
  for (const connection of held) connection.release()
  await revoking
  await say('newer')
  expect(texts([await client.next()])).toEqual(['newer'])
  client.socket.close()
})

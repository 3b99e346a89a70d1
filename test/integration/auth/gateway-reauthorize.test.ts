// Repeated checks of who may hear what, against clients and checks that do not play along.
import { expect, test } from 'vitest'
import { LockstepError, type UserContext } from '../../../src/core/index.ts'
import { signToken } from '../../../src/auth/index.ts'
import { RawClient, secret, signal, startWorld } from '../gateway/harness.ts'
import { ManualClock } from '../../support/manual-clock.ts'

test('a check that never answers holds up no other of its connection, nor of others', async () => {
  const [revoked, hanging] = [new Set<string>(), new Set<string>()]
  const clock = new ManualClock()
  let asked = 0
  const authorizeSubscription = async (_user: UserContext, channel: string): Promise<void> => {
    if (hanging.has(channel)) {
      asked += 1
      await new Promise(() => {})
    }
    if (revoked.has(channel)) throw new LockstepError('LS_CHANNEL_FORBIDDEN')
  }
  const at = await startWorld({ clock, reauthorizeMs: 1_000, ports: { authorizeSubscription } })
  const [ann, bob] = [await RawClient.connect(at, 'ann'), await RawClient.connect(at, 'bob')]
  await ann.ask({ id: 2, subscribe: { channel: 'room:1' } })
  await ann.ask({ id: 3, subscribe: { channel: 'room:2' } })
  await bob.ask({ id: 2, subscribe: { channel: 'room:3' } })
  hanging.add('room:1')
  for (const channel of ['room:2', 'room:3']) revoked.add(channel)
  for (let step = 0; step < 400; step += 1) {
    clock.advance(1_000 / 32)
    await new Promise((resolve) => setImmediate(resolve))
  }
  expect(['room:1', 'room:2', 'room:3'].map((channel) => at.events.subscribersOf(channel))).toEqual([1, 0, 0])
  // A check that hangs is not started a second time.
  expect(asked).toBe(1)
  await at.stop()
})

test('a client that subscribes faster than it is asked for does not keep a round from ending', async () => {
  const [known, askedAgain] = [new Set<string>(), [] as string[]]
  const at = await startWorld({
    ports: {
      authorizeSubscription: async (_user, channel) => {
        if (!known.has(channel)) {
          known.add(channel)
          return
        }
        askedAgain.push(channel)
        const next = askedAgain.length
        if (next < 20) await client.ask({ id: 2 + next, subscribe: { channel: `room:${next}` } })
      },
    },
  })
  const client = await RawClient.connect(at, 'ann')
  await client.ask({ id: 2, subscribe: { channel: 'room:0' } })
  await at.gateway.reauthorize()
  expect(askedAgain).toEqual(['room:0'])
  await at.stop()
})

test('a no to the session that a refresh has just replaced is asked for again', async () => {
  const [asked, gate] = [signal(), signal()]
  let isAgain = false
  const at = await startWorld({
    ports: {
      authorizeSubscription: async ({ sessionId }) => {
        if (!isAgain) return
        asked.fire()
        await gate.promise
        if (sessionId !== 'new') throw new LockstepError('LS_CHANNEL_FORBIDDEN')
      },
    },
  })
  const client = await RawClient.open(at.url)
  await client.ask({ id: 1, connect: { token: await signToken(secret, 'ann', 60, { sid: 'old' }) } })
  await client.ask({ id: 2, subscribe: { channel: 'room:1' } })
  isAgain = true
  const round = at.gateway.reauthorize()
  await asked.promise
  const refreshed = await client.ask({
    id: 3,
    refresh: { token: await signToken(secret, 'ann', 60, { sid: 'new' }) },
  })
  expect(refreshed).toMatchObject({ id: 3, refresh: {} })
  gate.fire()
  await round
  at.events.append('room:1', 'still heard')
  expect(await client.next()).toMatchObject({ push: { channel: 'room:1', pub: { offset: 1 } } })
  await at.stop()
})

import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { RawClient, signal, startWorld, type World } from './harness.ts'

let world: World
beforeEach(async () => {
  world = await startWorld()
})
afterEach(() => world.stop())

describe('an error reply begins with a code of the catalogue', () => {
  const subscribed = { id: 2, subscribe: { channel: 'room:1' } }
  const rpc = (method: string): object => ({ id: 3, rpc: { method } })

  test.each<[code: string, number: number, command: object]>([
    ['LS_INTERNAL', 100, rpc('fails')],
    ['LS_COMMAND_FORBIDDEN', 103, { id: 3, publish: { channel: 'room:1', data: 1 } }],
    ['LS_METHOD_UNKNOWN', 104, rpc('nope')],
    ['LS_METHOD_UNKNOWN', 104, { id: 3, teleport: {} }],
    ['LS_ALREADY_SUBSCRIBED', 105, { ...subscribed, id: 3 }],
    ['LS_LIMIT_EXCEEDED', 106, { id: 3, subscribe: { channel: 'room:2' } }],
    ['LS_ANSWER_TOO_LARGE', 106, rpc('huge')],
    ['LS_CHANNEL_NAME_INVALID', 107, { id: 3, subscribe: { channel: 'a b' } }],
    ['LS_COMMAND_UNAVAILABLE', 108, { id: 3, presence: { channel: 'room:1' } }],
    ['LS_TOO_MANY_REQUESTS', 111, rpc('slow')],
  ])('%s', async (code, number, command) => {
    const small = await startWorld({ limits: { maxOutstandingCalls: 1, maxChannelsPerConnection: 2 } })
    const never = signal()
    small.methods.set('slow', () => never.promise)
    small.methods.set('huge', async () => 'x'.repeat(1024 * 1024))
    small.methods.set('fails', () => Promise.reject(new Error('hunter2')))
    const client = await RawClient.connect(small, 'ann')
    await client.ask(subscribed)
    if (number === 111) client.send({ id: 2, rpc: { method: 'slow' } })
    expect(await client.ask(command)).toMatchObject({
      id: 3,
      error: { code: number, message: expect.stringMatching(new RegExp(`^${code}: [A-Z]`)) as string },
    })
    never.fire()
    await small.stop()
  })

  test('that names a method repeats its first 64 characters', async () => {
    const client = await RawClient.connect(world, 'ann')
    expect(await client.ask({ id: 2, rpc: { method: 'x'.repeat(100) } })).toMatchObject({
      error: { message: `LS_METHOD_UNKNOWN: There is no operation or query "${'x'.repeat(64)}…".` },
    })
  })
})

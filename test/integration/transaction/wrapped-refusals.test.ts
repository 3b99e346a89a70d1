// A refusal that the application's code throws is the same refusal where an ORM has wrapped it, wherever code is asked.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { LockstepError, type ErrorCode } from '../../../src/index.ts'
import { centrifuge, connected, serve, type Served } from '../../support/sockets.ts'
import { createWorld, type World } from '../../support/world.ts'

let world: World
let served: Served
let thrown: unknown
/** Place where the error is thrown. */
let place: 'authorize' | 'run' | 'onBegin' | 'canSubscribe' | undefined

function reach(where: typeof place): void {
  if (place === where) throw thrown
}

beforeAll(async () => {
  world = await createWorld({
    declare: (lockstep) =>
      void lockstep.channel('wrapped:{id}', {
        canSubscribe() {
          reach('canSubscribe')
          return true
        },
      }),
    onBegin: async () => reach('onBegin'),
  })
  world.lockstep.query('read', {
    input: z.unknown(),
    async authorize() {
      reach('authorize')
      return true
    },
    async run() {
      reach('run')
      return 'read'
    },
  })
  served = await serve(world)
})
afterAll(async () => {
  await world.close()
  await served.close()
})

const wraps = [
  ['as it is', (refusal: unknown) => refusal],
  ['wrapped once', (refusal: unknown) => new Error('Failed query', { cause: refusal })],
  [
    'wrapped twice',
    (refusal: unknown) => new TypeError('x', { cause: new Error('Failed query', { cause: refusal }) }),
  ],
] as const

/** News that the unmodified client hears. */
async function asked(ask: (client: ReturnType<typeof centrifuge>) => Promise<unknown>): Promise<unknown> {
  const client = await connected(centrifuge(served.url, 'ada'))
  try {
    return await ask(client)
  } finally {
    client.disconnect()
    place = undefined
  }
}

describe.each(wraps)('a refusal, %s,', (_, wrap) => {
  it.each<[string, ErrorCode, number]>([
    ['authorize', 'LS_FORBIDDEN', 403],
    ['authorize', 'LS_NODE_OVERLOADED', 111],
    ['run', 'LS_FORBIDDEN', 403],
    ['run', 'LS_NODE_STOPPING', 405],
    ['run', 'LS_DATABASE_UNREACHABLE', 100],
    ['onBegin', 'LS_FORBIDDEN', 403],
    ['onBegin', 'LS_NODE_OVERLOADED', 111],
  ])('of %s of a query with %s is answered with its code', async (where, code, reply) => {
    thrown = wrap(new LockstepError(code))
    place = where as typeof place
    await expect(asked((client) => client.rpc('read', 1))).rejects.toMatchObject({
      code: reply,
      message: expect.stringContaining(code),
    })
  })

  it.each<[string, ErrorCode, number]>([
    ['canSubscribe', 'LS_FORBIDDEN', 103],
    ['canSubscribe', 'LS_CHANNEL_FORBIDDEN', 103],
    ['canSubscribe', 'LS_NODE_OVERLOADED', 111],
    ['onBegin', 'LS_FORBIDDEN', 103],
    ['onBegin', 'LS_POOL_EXHAUSTED', 100],
  ])('of %s of a channel with %s is answered with its code', async (where, code, reply) => {
    thrown = wrap(new LockstepError(code))
    place = where as typeof place
    const told = asked(
      (client) =>
        new Promise((resolve) => {
          const subscription = client.newSubscription('wrapped:1')
          subscription.on('error', ({ error }) => resolve(error.code))
          subscription.on('unsubscribed', ({ code: why }) => resolve(why))
          subscription.on('subscribed', () => resolve('subscribed'))
          subscription.subscribe()
        }),
    )
    expect(await told).toBe(reply)
  })

  it.each<ErrorCode>(['LS_FORBIDDEN', 'LS_POOL_EXHAUSTED'])(
    'of onBegin of an operation with %s has its code in the notice',
    async (errorCode) => {
      thrown = wrap(new LockstepError(errorCode))
      place = 'onBegin'
      const outcome = await world.addNote.call({ room: '1', id: 'n', text: 'x' }, { user: 'ada' })
      place = undefined
      expect(outcome).toMatchObject({ outcome: 'rolled_back', notice: { errorCode } })
    },
  )
})

it('what wraps no error of the catalogue stays what it is: internal, and never shown', async () => {
  thrown = new Error('a secret', { cause: new Error('another') })
  place = 'run'
  const answered = asked((client) => client.rpc('read', 1))
  await expect(answered).rejects.toMatchObject({ code: 100 })
  await expect(answered).rejects.toMatchObject({ message: expect.not.stringContaining('secret') })
})

// Parts that clients are told nothing of: they are answered as for a name that is not declared.
import type { Centrifuge } from 'centrifuge'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { z } from 'zod'
import type { Lockstep, PgDatabase } from '../../../src/index.ts'
import { centrifuge, connected, serve, type Served } from '../../support/sockets.ts'
import { createWorld, type World } from '../../support/world.ts'

const declareAudit = (lockstep: Lockstep<PgDatabase>) =>
  lockstep.channel('audit:{id}', { internal: true, events: { noted: z.object({ n: z.number() }) } })
let audit: ReturnType<typeof declareAudit>
let world: World
let served: Served
let ada: Centrifuge
let purge: ReturnType<typeof declarePurge>

const declarePurge = () =>
  world.lockstep.operation('purge_notes', {
    internal: true,
    input: z.object({ n: z.number() }),
    async run({ input, tx }) {
      tx.emit(audit({ id: '1' }), 'noted', { n: input.n })
      return { purged: input.n }
    },
  })

beforeAll(async () => {
  world = await createWorld({ declare: (lockstep) => void (audit = declareAudit(lockstep)) })
  purge = declarePurge()
  world.lockstep.query('count_notes', { internal: true, input: z.object({}), run: async () => 1 })
  served = await serve(world)
  ada = await connected(centrifuge(served.url, 'ada'))
})
afterAll(async () => {
  ada.disconnect()
  await served.close()
  await world.close()
})

async function answerOf(asked: Promise<unknown>): Promise<unknown> {
  return asked.then(
    (answer) => ({ answer }),
    ({ code, message }: { code: number; message: string }) => ({ code, message }),
  )
}

test('an internal operation and an internal query are unknown to clients, and no name is suggested', async () => {
  const unknown = await answerOf(ada.rpc('zzzzzzzz', {}))
  expect(unknown).toMatchObject({ code: 104 })
  for (const method of ['purge_notes', 'count_notes', 'purge_note']) {
    const { message } = unknown as { message: string }
    const expected = { code: 104, message: message.replace('zzzzzzzz', method) }
    expect(await answerOf(ada.rpc(method, { id: crypto.randomUUID(), input: { n: 1 } }))).toEqual(expected)
  }
})

test('an internal channel is unknown to clients', async () => {
  const answers = ['nowhere:1', 'audit:1'].map(async (channel) => {
    const subscription = ada.newSubscription(channel)
    const refused = new Promise((resolve) => subscription.once('unsubscribed', resolve))
    subscription.subscribe()
    const { code, reason } = (await refused) as { code: number; reason: string }
    return { code, reason }
  })
  const [unknown, internal] = await Promise.all(answers)
  expect(internal).toEqual(unknown)
  expect(unknown).toMatchObject({ code: 102 })
})

test('its events are in the log, and nobody can be denied what nobody has', async () => {
  expect(await purge.call({ n: 7 }, { user: 'ada' })).toMatchObject({ outcome: 'committed' })
  expect(await world.eventsOf('audit:1')).toMatchObject([{ type: 'noted', data: { n: 7 } }])
  await expect(world.lockstep.revoke({ user: 'ada', channel: 'audit:1' })).rejects.toMatchObject({
    code: 'LS_CHANNEL_UNKNOWN',
  })
})

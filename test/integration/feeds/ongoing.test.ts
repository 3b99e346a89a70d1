// Open runs of a channel come with each reply to a subscribe, at the position of that reply.
import { afterEach, beforeEach, expect, it } from 'vitest'
import { z } from 'zod'
import type { Ongoing } from '../../../src/protocol/index.ts'
import { centrifuge, connected, listen, serve, type Served } from '../../support/sockets.ts'
import { createWorld, room, type World } from '../../support/world.ts'

let world: World
let served: Served
beforeEach(async () => {
  world = await createWorld()
  served = await serve(world)
})
afterEach(async () => {
  await served.close()
  await world.close()
})

const gate = () => {
  let open!: () => void
  const passed = new Promise<void>((resolve) => (open = resolve))
  return { open, passed }
}

async function join(channel: string): Promise<{ data: Ongoing | undefined; leave(): void }> {
  const client = await connected(centrifuge(served.url, 'ada'))
  const subscription = client.newSubscription(channel, { recoverable: true, positioned: true })
  const data = new Promise<unknown>((resolve) =>
    subscription.on('subscribed', (context) => resolve(context.data)),
  )
  subscription.subscribe()
  return { data: (await data) as Ongoing | undefined, leave: () => client.disconnect() }
}

it('a subscriber gets the open runs of the channel, as they stand at its position', async () => {
  const [begun, goOn] = [gate(), gate()]
  const task = world.lockstep.task('write', {
    input: z.object({}),
    progress: z.number(),
    channel: () => room({ id: 'a' }),
    async run({ step }) {
      step.progress(1)
      begun.open()
      await goOn.passed
    },
  })
  const before = await join('room:a')
  expect(before.data).toEqual({ drafts: [], runs: [] })
  const run = await task.start({}, { user: 'ada' })
  await begun.passed
  const open = {
    runId: run.id,
    task: 'write',
    state: 'running',
    phase: 'active',
    attempt: 1,
    startedBy: 'ada',
    waits: [],
    progress: 1,
  }
  // A second subscriber is answered from the feed, without a question to the database.
  const during = await join('room:a')
  expect(during.data).toEqual({ drafts: [], runs: [open] })
  before.leave()
  during.leave()
  goOn.open()
  await task.ended(run)
  const after = await join('room:a')
  expect(after.data).toEqual({ drafts: [], runs: [] })
  after.leave()
})

it('the first subscriber on a node gets runs that had begun before', async () => {
  const task = world.lockstep.task('later', {
    input: z.object({}),
    channel: () => room({ id: 'b' }),
    run: async () => {},
  })
  const run = await task.start({}, { user: 'ada', startAt: new Date(Date.now() + 3_600_000) })
  const joined = await join('room:b')
  expect(joined.data?.runs).toMatchObject([{ runId: run.id, state: 'pending', phase: 'queued', attempt: 0 }])
  joined.leave()
})

it('channels of a node without tasks have nothing open', async () => {
  const client = await connected(centrifuge(served.url, 'ada'))
  const { subscription } = await listen(client, 'room:c')
  expect(subscription.state).toBe('subscribed')
  client.disconnect()
  const joined = await join('room:c')
  expect(joined.data).toBeUndefined()
  joined.leave()
})

import type { ServerPublicationContext } from 'centrifuge'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { newOperationId } from '../../src/index.ts'
import { startOwnPostgres, type OwnPostgres } from '../support/postgres.ts'
import { centrifuge, connected, Inbox, serve, type Served } from '../support/sockets.ts'
import { createWorld, type World } from '../support/world.ts'

let postgres: OwnPostgres
let world: World
let served: Served

beforeAll(async () => {
  postgres = await startOwnPostgres()
  world = await createWorld({ databaseUrl: postgres.server.url, leaseMs: 1_000 })
  served = await serve(world)
})
afterAll(async () => {
  await world.close()
  await served.close()
  await postgres.close()
})

/** The notice inside a publication. */
const told = (publication: ServerPublicationContext | undefined): unknown =>
  (publication?.data as { readonly data: unknown } | undefined)?.data

it('notifies the user at once that it was not saved, and durably when the database is back', async () => {
  const client = await connected(centrifuge(served.url, 'ada'))
  const notices = new Inbox<ServerPublicationContext>()
  client.on('publication', notices.push)
  await postgres.server.stop('immediate')

  const id = newOperationId()
  const input = { room: 'down', id: 'd1', text: 'x' }
  const reply = (await client.rpc('add_note', { id, input })).data as { outcome: string; notice: object }
  expect(reply).toMatchObject({ outcome: 'rolled_back', notice: { transactionId: id, transient: true } })
  await notices.until((items) => items.length > 0)
  const transient = notices.items[0]
  expect(transient?.offset).toBeUndefined()
  expect(told(transient)).toEqual(reply.notice)

  // A copy that says it is one gets no answer from memory: the first may have committed, for all this node knows.
  const copy = { id: newOperationId(), input: { room: 'down', id: 'd2', text: 'x' }, repeat: true }
  await expect(client.rpc('add_note', copy)).rejects.toMatchObject({ code: 404 })

  await postgres.server.restart()
  const durable = () => notices.items.filter(({ offset }) => offset !== undefined).map(told)
  await notices.until(() => durable().length === 2)
  // The call and its copy have both failed: a durable notice each, and no others.
  for (const notice of durable()) expect(notice).not.toHaveProperty('transient')
  expect(new Set(durable().map((notice) => (notice as { transactionId: string }).transactionId))).toEqual(
    new Set([id, copy.id]),
  )
  expect(
    await world.rows('select state from lockstep.operations where id = any($1)', [[id, copy.id]]),
  ).toEqual([{ state: 'rolled_back' }, { state: 'rolled_back' }])
  expect(await world.rows('select 1 from notes')).toEqual([])

  // The node serves again as soon as it has a new lease, and a copy of the call gets the outcome that stands.
  const answerTo = (callId: string): Promise<unknown> =>
    client.rpc('add_note', { id: callId, input }).then(
      ({ data }) => data as unknown,
      (error: unknown) => error,
    )
  await expect.poll(() => answerTo(newOperationId())).toMatchObject({ outcome: 'committed' })
  await expect.poll(() => answerTo(id)).toMatchObject({ outcome: 'rolled_back' })
  client.disconnect()
})

// Questions for ids that no node has heard of: their cost, and for how long an id stays closed.
import { randomUUID } from 'node:crypto'
import type { Centrifuge } from 'centrifuge'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { newOperationId } from '../../../src/index.ts'
import { fromPool, trimOperations } from '../../../src/postgres/index.ts'
import { limits, type OutcomeAnswer } from '../../../src/protocol/index.ts'
import { centrifuge, connected, serve, type Served } from '../../support/sockets.ts'
import { createWorld, type World } from '../../support/world.ts'

let world: World
let served: Served
const clients: Centrifuge[] = []

beforeAll(async () => {
  world = await createWorld()
  served = await serve(world)
})
afterAll(async () => {
  for (const client of clients) client.disconnect()
  await world.close()
  await served.close()
})

async function connect(user: string, url = served.url): Promise<Centrifuge> {
  const made = await connected(centrifuge(url, user))
  clients.push(made)
  return made
}
async function ask(asker: Centrifuge, ids: readonly string[]): Promise<readonly OutcomeAnswer[]> {
  return ((await asker.rpc('lockstep.outcomes', { ids })).data as { outcomes: OutcomeAnswer[] }).outcomes
}
const closedOf = async (user: string) =>
  (await world.rows(`select 1 from lockstep.operations where user_id = $1 and input_hash = ''`, [user]))
    .length
const newIds = (count: number, newId: () => string = newOperationId) => Array.from({ length: count }, newId)

it.each([
  ['version 4', randomUUID],
  ['version 7', newOperationId],
])('an unheard id of %s is answered and closed', async (version, newId) => {
  const user = version.replace(' ', '')
  const asker = await connect(user)
  const id = newId()
  expect(await ask(asker, [id])).toEqual([{ outcome: 'never_received', operationId: id }])
  expect(await closedOf(user)).toBe(1)
  const late = await asker.rpc('add_note', { id, input: { room: 'o', id, text: 'x' } })
  expect(late.data).toMatchObject({ outcome: 'rolled_back' })
  expect(await world.rows('select 1 from notes where id = $1', [id])).toEqual([])
})

it.each([
  ['version 4', randomUUID],
  ['version 7', newOperationId],
])(
  'one user has so many ids of %s closed, over all sockets, and is told when to ask for the rest',
  async (version, newId) => {
    const user = `greedy-${version.replace(' ', '')}`
    const sockets = [await connect(user), await connect(user), await connect(user)]
    const beganAt = performance.now()
    const answers = await Promise.all(
      Array.from({ length: 30 }, (_, n) => ask(sockets[n % 3] as Centrifuge, newIds(100, newId))),
    )
    const earned = ((performance.now() - beganAt) / 1_000) * limits.closedIdsPerSecond
    const closed = answers.flat().filter(({ outcome }) => outcome === 'never_received')
    const beyond = answers.flat().filter(({ outcome }) => outcome === 'pending')
    expect(closed.length).toBeGreaterThanOrEqual(limits.maxClosedIds)
    expect(closed.length).toBeLessThanOrEqual(limits.maxClosedIds + earned + 1)
    expect(await closedOf(user)).toBe(closed.length)
    expect(closed.length + beyond.length).toBe(3_000)
    const last = beyond.at(-1)
    expect(last?.outcome === 'pending' && last.retryAfterMs).toBeGreaterThan(0)

    // Outcomes that are known are answered all the same, and other users do not wait.
    const kept = newOperationId()
    await world.addNote.call({ room: 'o', id: kept, text: 'x' }, { id: kept, user })
    expect(await ask(sockets[0] as Centrifuge, [kept])).toMatchObject([{ outcome: 'committed' }])
    expect(await ask(await connect(`beside-${user}`), newIds(1, newId))).toMatchObject([
      { outcome: 'never_received' },
    ])
  },
)

it('a question counts as one command for each of its ids', async () => {
  const other = await createWorld({
    databaseUrl: world.url,
    // A burst of five is free: ids beyond it are paid for by waiting, for two seconds at most.
    gateway: { limits: { maxCommandsPerSecond: 1 } },
  })
  const at = await serve(other)
  const asker = await connect('counted', at.url)
  expect(await ask(asker, newIds(100))).toHaveLength(100)
  const askedAt = performance.now()
  expect(await ask(asker, newIds(1))).toHaveLength(1)
  expect(performance.now() - askedAt).toBeGreaterThan(1_000)
  asker.disconnect()
  await other.close()
  await at.close()
})

it('a closed id is kept for minutes, and an outcome for days', async () => {
  const asker = await connect('brief')
  const [unheard, kept] = [newOperationId(), newOperationId()]
  await world.addNote.call({ room: 'o', id: kept, text: 'x' }, { id: kept, user: 'brief' })
  await ask(asker, [unheard])
  const idsOf = async () =>
    (await world.rows<{ id: string }>(`select id from lockstep.operations where user_id = 'brief'`)).map(
      ({ id }) => id,
    )
  const { own, schema } = fromPool(world.pool)
  const minutes = { outcomesMs: 86_400_000, closedIdsMs: 600_000 }
  await own.query(trimOperations(schema, minutes, 0, 10_000))
  expect(new Set(await idsOf())).toEqual(new Set([unheard, kept]))
  await world.rows(
    `update lockstep.operations set settled_at = settled_at - interval '11 minutes' where user_id = 'brief'`,
  )
  await own.query(trimOperations(schema, minutes, 0, 10_000))
  expect(await idsOf()).toEqual([kept])
})

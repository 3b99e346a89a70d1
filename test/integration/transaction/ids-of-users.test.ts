// An operation's id belongs to its user. Others may know it, before the commit and even before the call: over two nodes,
// with official clients.
import { createHash, randomUUID } from 'node:crypto'
import type { Centrifuge } from 'centrifuge'
import { afterEach, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { newOperationId, type Mode } from '../../../src/index.ts'
import { fromPool, writeIntents } from '../../../src/postgres/index.ts'
import { centrifuge, connected, listen, serve } from '../../support/sockets.ts'
import { createWorld, room, type World } from '../../support/world.ts'

const opened: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const close of opened.splice(0).toReversed()) await close()
})

interface Node {
  readonly world: World
  client(user: string): Promise<Centrifuge>
}

async function start(mode: Mode, hold: () => Promise<void>, databaseUrl?: string): Promise<Node> {
  const rollout = { operations: { post: mode } }
  const world = await createWorld({ rollout, ...(databaseUrl === undefined ? {} : { databaseUrl }) })
  opened.push(() => world.close())
  world.lockstep.operation('post', {
    input: z.object({ fail: z.boolean() }),
    rollback: { userMessage: 'Your post was not saved.' },
    async run({ input, tx, user }) {
      await tx.db.query('insert into notes values ($1, $2)', [`${user.id} ${tx.operationId}`, 'a post'])
      tx.emit(room({ id: 'hall' }), 'note.added', { id: tx.operationId, text: user.id })
      await hold()
      if (input.fail) throw new Error('cannot')
      return { by: user.id }
    },
  })
  const served = await serve(world)
  opened.push(() => served.close())
  return {
    world,
    async client(user) {
      const client = await connected(centrifuge(served.url, user))
      opened.push(async () => client.disconnect())
      return client
    },
  }
}

async function twoNodes(mode: Mode, hold: () => Promise<void> = async () => {}) {
  const one = await start(mode, hold)
  const two = await start(mode, async () => {}, one.world.url)
  return { one, two }
}

const call = async (client: Centrifuge, id: string, fail = false): Promise<unknown> =>
  (await client.rpc('post', { id, input: { fail } })).data
const ask = async (client: Centrifuge, id: string): Promise<unknown> =>
  ((await client.rpc('lockstep.outcomes', { ids: [id] })).data as { outcomes: unknown[] }).outcomes[0]
const rowsOf = async ({ world }: Node, user: string, id: string) =>
  (await world.rows('select 1 from notes where id = $1', [`${user} ${id}`])).length
const noticesOf = async ({ world }: Node, user: string) =>
  (await world.eventsOf(`user:${user}`)).map(({ operation_id, type }) => [operation_id, type])

/** Makes a UUID of version 5, which can be computed by all who know the name (RFC 9562, section 5.5). */
function derivedId(name: string): string {
  const bytes = createHash('sha1').update(name).digest().subarray(0, 16)
  bytes.writeUInt8((bytes.readUInt8(6) & 0x0f) | 0x50, 6)
  bytes.writeUInt8((bytes.readUInt8(8) & 0x3f) | 0x80, 8)
  return bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')
}

describe('an id that leaks before the commit is of no use to others, on any node', () => {
  it.each([
    ['off', 'runs'],
    ['off', 'asks about'],
    ['observe', 'runs'],
    ['observe', 'asks about'],
  ] as const)('in mode %s, where another user %s it', async (mode, does) => {
    let release = (): void => {}
    const gate = new Promise<void>((resolve) => (release = resolve))
    const { one, two } = await twoNodes(mode, () => gate)
    const [ada, eve] = [await one.client('ada'), await two.client('eve')]
    const { inbox } = await listen(eve, 'room:hall')
    const id = newOperationId()
    const outcome = call(ada, id)
    const [seen] = await inbox.until((items) => items.length === 1)
    expect(seen?.data).toMatchObject({ operationId: id })

    expect(await (does === 'runs' ? call : ask)(eve, id)).toMatchObject(
      does === 'runs' ? { result: { by: 'eve' } } : { outcome: 'never_received', operationId: id },
    )

    release()
    expect(await outcome).toMatchObject({ outcome: 'committed', operationId: id, result: { by: 'ada' } })
    expect(await rowsOf(one, 'ada', id)).toBe(1)
    // A call that is sent once more gets its own user's answer, and no other.
    expect(await call(ada, id)).toMatchObject({ outcome: 'committed', result: { by: 'ada' } })
    expect(await ask(eve, id)).toMatchObject(
      does === 'runs' ? { outcome: 'committed', result: { by: 'eve' } } : { outcome: 'never_received' },
    )
  })
})

describe.each([
  ['version 4', () => randomUUID()],
  ['version 5', () => derivedId(`invoice of ada ${randomUUID()}`)],
  ['version 7', () => newOperationId()],
])('an id of %s that others know in advance', (_version, newId) => {
  it('cannot be closed by them: its call commits', async () => {
    const { one, two } = await twoNodes('enforce')
    const [ada, eve] = [await one.client('ada'), await two.client('eve')]
    const id = newId()
    expect(await ask(eve, id)).toEqual({ outcome: 'never_received', operationId: id })
    expect(await call(ada, id)).toMatchObject({ outcome: 'committed', result: { by: 'ada' } })
    expect(await rowsOf(one, 'ada', id)).toBe(1)
  })

  it('cannot be used up by them: its call fails for reasons of its own, and its user has the notice', async () => {
    const { one, two } = await twoNodes('enforce')
    const [ada, eve] = [await one.client('ada'), await two.client('eve')]
    const id = newId()
    expect(await call(eve, id)).toMatchObject({ outcome: 'committed', result: { by: 'eve' } })
    expect(await call(ada, id, true)).toMatchObject({
      outcome: 'rolled_back',
      notice: {
        transactionId: id,
        errorCode: 'LS_OPERATION_FAILED',
        userMessage: 'Your post was not saved.',
      },
    })
    expect(await noticesOf(one, 'ada')).toEqual([[id, 'transaction_rolled_back']])
    expect(await noticesOf(one, 'eve')).toEqual([])
    expect(await ask(eve, id)).toMatchObject({ outcome: 'committed', result: { by: 'eve' } })
  })
})

it('two users who call with one id at the same moment on one node each get their own answer', async () => {
  const { one } = await twoNodes('enforce')
  const [ada, eve] = [await one.client('ada'), await one.client('eve')]
  const id = newOperationId()
  expect(await Promise.all([call(ada, id), call(eve, id), call(ada, id)])).toMatchObject([
    { result: { by: 'ada' } },
    { result: { by: 'eve' } },
    { result: { by: 'ada' } },
  ])
  expect([await rowsOf(one, 'ada', id), await rowsOf(one, 'eve', id)]).toEqual([1, 1])
})

it("a notice that is missing is found, though another user has one of the same id's operation", async () => {
  const { one } = await twoNodes('enforce')
  const [ada, eve] = [await one.client('ada'), await one.client('eve')]
  const id = newOperationId()
  await call(eve, id, true)
  await call(ada, id, true)
  await one.world.rows(`delete from lockstep.events where channel = 'user:ada'`)
  const found = async () =>
    (await one.world.lockstep.health.violations()).filter(({ operationId }) => operationId === id)
  await expect
    .poll(found, { timeout: 20_000 })
    .toMatchObject([{ kind: 'missing_rollback_notification', userId: 'ada' }])
}, 30_000)

it("what a dead node left open is settled with a notice, though another user's operation of that id has ended", async () => {
  const { one } = await twoNodes('enforce')
  const eve = await one.client('eve')
  const { own, schema } = fromPool(one.world.pool)
  const id = newOperationId()
  await call(eve, id)
  const left = { id, name: 'post', userId: 'ada', node: newOperationId(), inputHash: 'x' }
  await own.query(writeIntents(schema, { node: left.node, slot: 0, batch: 1 }, [left]))
  await expect
    .poll(() => noticesOf(one, 'ada'), { timeout: 10_000 })
    .toEqual([[id, 'transaction_rolled_back']])
  await expect
    .poll(() => one.world.rows('select 1 from lockstep.intents where node = $1', [left.node]))
    .toEqual([])
})

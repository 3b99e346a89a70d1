import { randomUUID } from 'node:crypto'
import type { Centrifuge, ServerPublicationContext } from 'centrifuge'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { newOperationId } from '../../../src/index.ts'
import { centrifuge, connected, Inbox, listen, serve, type Served } from '../../support/sockets.ts'
import { createWorld, room, type World } from '../../support/world.ts'
import { signal } from '../gateway/harness.ts'

let world: World
let served: Served
const clients: Centrifuge[] = []

beforeAll(async () => {
  world = await createWorld({ poolSize: 20 })
  served = await serve(world)
})
afterAll(async () => {
  for (const client of clients) client.disconnect()
  await world.close()
  await served.close()
})

const connect = (user: string): Promise<Centrifuge> => {
  const client = centrifuge(served.url, user)
  clients.push(client)
  return connected(client)
}
const call = (client: Centrifuge, input: object, id = newOperationId()) =>
  client.rpc('add_note', { id, input }).then(({ data }) => data as { outcome: string; notice?: object })

describe('an unmodified centrifuge client', () => {
  it('receives offsets 1 to N without a hole, and two subscribers see one order', async () => {
    const [ada, bob] = await Promise.all([connect('ada'), connect('bob')])
    const [a, b] = await Promise.all([listen(ada, 'room:order'), listen(bob, 'room:order')])
    const count = 200
    const replies = await Promise.all(
      Array.from({ length: count }, (_, i) =>
        call(i % 2 === 0 ? ada : bob, {
          room: 'order',
          id: randomUUID(),
          text: String(i),
          // Every tenth call fails after its insert: no row, no event, no hole.
          fail: i % 10 === 9,
        }),
      ),
    )
    const good = count - count / 10
    expect(replies.filter(({ outcome }) => outcome === 'committed')).toHaveLength(good)
    await Promise.all([a, b].map(({ inbox }) => inbox.until((items) => items.length >= good)))
    const offsets = a.inbox.items.map(({ offset }) => offset)
    expect(offsets).toEqual(Array.from({ length: good }, (_, i) => i + 1))
    expect(b.inbox.items.map(({ offset, data }) => [offset, data])).toEqual(
      a.inbox.items.map(({ offset, data }) => [offset, data]),
    )
    const stored = await world.eventsOf('room:order')
    expect(stored.map(({ data }) => data)).toEqual(
      a.inbox.items.map(({ data }) => (data as { data: unknown }).data),
    )
  })

  it('gets its rollback in the reply, and as a notice on its own channel', async () => {
    const grace = await connect('grace')
    const notices = new Inbox<ServerPublicationContext>()
    grace.on('publication', notices.push)
    const id = newOperationId()
    const reply = await call(grace, { room: 'told', id: 't1', text: 'x', fail: true }, id)
    expect(reply).toMatchObject({ outcome: 'rolled_back', notice: { transactionId: id } })
    const [told] = await notices.until((items) => items.length > 0)
    expect(told).toMatchObject({
      channel: 'user:grace',
      offset: 1,
      data: { type: 'transaction_rolled_back', operationId: id, data: reply.notice },
    })
  })

  it('recovers exactly what it missed while its socket was gone', async () => {
    const ada = await connect('ada')
    const { inbox, subscription } = await listen(ada, 'room:away')
    await world.addNote.call({ room: 'away', id: 'w1', text: '1' }, { user: 'bob' })
    await inbox.until((items) => items.length === 1)
    ada.disconnect()
    for (const n of [2, 3, 4]) {
      await world.addNote.call({ room: 'away', id: `w${n}`, text: String(n) }, { user: 'bob' })
    }
    const recovered = new Promise<boolean>((resolve) =>
      subscription.once('subscribed', (context) => resolve(context.wasRecovering && context.recovered)),
    )
    ada.connect()
    expect(await recovered).toBe(true)
    await inbox.until((items) => items.length === 4)
    expect(inbox.items.map(({ offset }) => offset)).toEqual([1, 2, 3, 4])
  })

  it('is asked plainly to reload when what it missed is no longer kept', async () => {
    const ada = await connect('ada')
    const { subscription, inbox } = await listen(ada, 'room:trimmed')
    await world.addNote.call({ room: 'trimmed', id: 'tr1', text: '1' }, { user: 'bob' })
    await inbox.until((items) => items.length === 1)
    ada.disconnect()
    for (const n of [2, 3]) {
      await world.addNote.call({ room: 'trimmed', id: `tr${n}`, text: String(n) }, { user: 'bob' })
    }
    await world.rows(`delete from lockstep.events where channel = 'room:trimmed' and "offset" = 2`)
    const subscribed = new Promise<{ recovered: boolean; wasRecovering: boolean }>((resolve) =>
      subscription.once('subscribed', resolve),
    )
    ada.connect()
    expect(await subscribed).toMatchObject({ wasRecovering: true, recovered: false })
  })

  it('reads a snapshot and its position together, and misses nothing after it', async () => {
    const list = world.lockstep.query('list_counted', {
      input: (await import('zod')).z.object({}),
      async run({ db, position }) {
        const at = await position(room({ id: 'snap' }))
        const { rows } = await db.query<{ count: number }>(
          `select count(*)::int as count from lockstep.events where channel = 'room:snap'`,
        )
        return { count: rows[0]?.count, ...at }
      },
    })
    expect(list.name).toBe('list_counted')
    const ada = await connect('ada')
    const writing = Promise.all(
      Array.from({ length: 50 }, (_, n) =>
        world.lockstep.transaction({ name: 'count', user: 'ada' }, async (tx) => {
          tx.emit(room({ id: 'snap' }), 'counted', { n })
        }),
      ),
    )
    const state = (await ada.rpc('list_counted', {})).data as { count: number; offset: number; epoch: string }
    expect(state.offset).toBe(state.count)
    const subscription = ada.newSubscription('room:snap', {
      since: { offset: state.offset, epoch: state.epoch },
    })
    const inbox = new Inbox<{ offset?: number }>()
    subscription.on('publication', inbox.push)
    subscription.subscribe()
    await writing
    await inbox.until((items) => items.length === 50 - state.count)
    expect(inbox.items.map(({ offset }) => offset)).toEqual(
      Array.from({ length: 50 - state.count }, (_, i) => state.count + i + 1),
    )
  })
})

describe('independence of channels', () => {
  it('a transaction that holds one channel open for 3 s delays another by nothing measurable', async () => {
    const ada = await connect('ada')
    const { inbox } = await listen(ada, 'room:free')
    /** Median time of commits and deliveries, in milliseconds, which a stall of the machine does not change. */
    const measure = async (tag: string, isOver: (n: number) => boolean): Promise<number> => {
      const took: number[] = []
      for (let n = 0; !isOver(n); n++) {
        const began = performance.now()
        const before = inbox.items.length
        await call(ada, { room: 'free', id: `${tag}-${n}`, text: 'x' })
        await inbox.until((items) => items.length > before)
        took.push(performance.now() - began)
      }
      return took.toSorted((a, b) => a - b)[took.length >> 1] ?? NaN
    }
    const alone = await measure('alone', (n) => n === 40)
    const [held, over] = [signal(), signal()]
    const holding = world.lockstep.transaction({ name: 'hold', user: 'bob' }, async (tx) => {
      await tx.db.query(`insert into notes values ('held', 'x')`)
      tx.emit(room({ id: 'held' }), 'counted', { n: 1 })
      held.fire()
      await over.promise
    })
    await held.promise
    const until = performance.now() + 3_000
    // Commits and deliveries go on while the other transaction is open.
    const meanwhile = await measure('meanwhile', (n) => n >= 40 && performance.now() > until)
    over.fire()
    expect(meanwhile).toBeLessThan(Math.max(50, 3 * alone))
    await holding
  })
})

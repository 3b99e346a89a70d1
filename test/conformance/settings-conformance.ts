import { randomUUID } from 'node:crypto'
import type { Centrifuge, PublicationContext, ServerPublicationContext } from 'centrifuge'
import { expect } from 'vitest'
import { newOperationId } from '../../src/index.ts'
import { createSettingsWorld, type SettingsNode, type Surroundings } from '../support/settings-world.ts'
import { centrifuge, connected, Inbox, listen } from '../support/sockets.ts'
import { eventually } from '../support/eventually.ts'

const text = 'Grüße – 你好 🎉'
const soon = { timeout: 15_000, interval: 50 }
/** Database and test run on one machine; a time that was misread is days or hours away. */
const mostClockMs = 60_000

/**
 * Walks over two nodes without a bus, and through all that Lockstep reads back from the database: single events and
 * several of one operation, delivered locally and from the log; outcomes; notices, live and from the log; recovery; a
 * query with its position; an operation that a dead node left; the figures of the health monitor.
 */
export async function walkThrough(surroundings: Surroundings): Promise<void> {
  const world = await createSettingsWorld(surroundings)
  const clients: Centrifuge[] = []
  try {
    const [first, second] = [await world.startNode(), await world.startNode()]
    const connect = async (node: SettingsNode, user: string) => {
      const client = centrifuge(node.served.url, user)
      clients.push(client)
      const notices = new Inbox<ServerPublicationContext>()
      client.on('publication', notices.push)
      await connected(client)
      return { client, notices }
    }
    const ada = await connect(first, 'ada')
    const bob = await connect(second, 'bob')
    const here = await listen(ada.client, 'room:1')
    const there = await listen(bob.client, 'room:1')
    const call = async (method: string, input: object, id = newOperationId()) =>
      (await ada.client.rpc(method, { id, input })).data as Reply

    // Emits a single event, then two in one operation: the second node must read from the log exactly what the first
    // delivered.
    const id = newOperationId()
    const committed = await call('add_note', { id: 'n1', text }, id)
    expect(committed).toMatchObject({
      outcome: 'committed',
      result: { text },
      positions: { 'room:1': { offset: 1 } },
    })
    expect(await call('add_two', { id: 'n2', text })).toMatchObject({
      outcome: 'committed',
      positions: { 'room:1': { offset: 2 }, 'room:2': { offset: 1 } },
    })
    await Promise.all([here, there].map(({ inbox }) => inbox.until((items) => items.length >= 2)))
    expect(shown(there.inbox)).toEqual(shown(here.inbox))
    for (const { data } of there.inbox.items) {
      const { at, data: note } = data as { at: string; data: unknown }
      expect(Math.abs(new Date(at).getTime() - Date.now())).toBeLessThan(mostClockMs)
      expect(note).toMatchObject({ text })
    }

    // A rollback: its notice comes from the log on the other node. Its outcome and that of a copy are what stands.
    const elsewhere = await connect(second, 'ada')
    const failed = newOperationId()
    const rolledBack = await call('add_note', { id: 'n3', text, fail: true }, failed)
    expect(rolledBack).toMatchObject({
      outcome: 'rolled_back',
      notice: { userMessage: 'Your note was not saved – sorry.' },
    })
    await elsewhere.notices.until((items) => items.length > 0)
    expect(elsewhere.notices.items[0]).toMatchObject({ offset: 1, data: { data: rolledBack.notice } })
    expect(await call('add_note', { id: 'n1', text }, id)).toEqual(committed)
    const asked = await elsewhere.client.rpc('lockstep.outcomes', { ids: [id, failed, newOperationId()] })
    expect((asked.data as { outcomes: unknown }).outcomes).toMatchObject([
      committed,
      rolledBack,
      { outcome: 'never_received' },
    ])

    // Away, and back: what was missed is recovered, and a query reads rows and position of one state.
    bob.client.disconnect()
    await call('add_note', { id: 'n4', text })
    const back = new Promise<boolean>((resolve) =>
      there.subscription.once('subscribed', ({ wasRecovering, recovered }) => {
        resolve(wasRecovering && recovered)
      }),
    )
    bob.client.connect()
    expect(await back).toBe(true)
    await there.inbox.until((items) => items.length >= 3)
    await here.inbox.until((items) => items.length >= 3)
    expect(shown(there.inbox)).toEqual(shown(here.inbox))
    expect((await bob.client.rpc('notes', {})).data).toMatchObject({ count: 2, at: { offset: 3 } })

    // An operation that a dead node has left is settled, and its user is notified.
    const orphan = newOperationId()
    await world.admin.query(
      `insert into lockstep.intents (node, slot, batch, ids, names, user_ids, input_hashes)
       values ($1, 0, 0, array[$2::uuid], '{add_note}', '{bob}', '{hash}')`,
      [randomUUID(), orphan],
    )
    await bob.notices.until((items) =>
      items.some(({ data }) => (data as { operationId: string }).operationId === orphan),
    )

    // Health: counted by both nodes, with a violation that was stored and read back.
    await call('add_early', { id: 'n5', text })
    for (const { lockstep } of [first, second]) {
      await eventually(async () => {
        expect(await lockstep.health.report()).toMatchObject({
          status: 'ok',
          lease: 'held',
          violations: { websocket_before_commit: 1, missing_rollback_notification: 0 },
        })
      }, soon)
      const [violation] = await lockstep.health.violations()
      expect(Math.abs((violation?.at ?? 0) - Date.now())).toBeLessThan(mostClockMs)
      const { rollbacks, nodes } = await lockstep.health.dashboard({ minutes: 5 })
      expect(rollbacks).toMatchObject({ told: 2, untold: 0 })
      expect(rollbacks.recent.find((row) => row.id === failed)).toMatchObject({
        userMessage: 'Your note was not saved – sorry.',
      })
      expect(nodes.filter(({ live }) => live)).toHaveLength(2)
    }
    for (const { logger } of [first, second]) expect(complaints(logger.lines)).toEqual([])
  } finally {
    for (const client of clients) client.disconnect()
    await world.close()
  }
}

interface Reply {
  readonly outcome: string
  readonly notice?: object
}

const shown = (inbox: Inbox<PublicationContext>): unknown[] =>
  inbox.items
    .filter(({ offset }) => offset !== undefined)
    .map(({ offset, data }) => [offset, data as unknown])

// The last is told of a slow machine, too.
const expected = [
  'an operation failed',
  'an operation of a dead node was settled',
  'websocket_before_commit:',
  'the health score is',
]

function complaints(lines: readonly { readonly level: string; readonly message: string }[]): unknown[] {
  return lines.filter(
    ({ level, message }) =>
      (level === 'warn' || level === 'error') && !expected.some((start) => message.startsWith(start)),
  )
}

// Promises of operations over every log, however it gives offsets.
import { randomUUID } from 'node:crypto'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { newOperationId } from '../../src/index.ts'
import type { CreateLog } from '../../src/log/index.ts'
import { createTestDatabase, type TestDatabase } from '../support/database.ts'
import { centrifuge, connected, listen, serve, type Served } from '../support/sockets.ts'
import { createWorld, room, type World } from '../support/world.ts'

/** @param sql tables and functions that the log needs in the database beside the product's own schema */
export function describeOperationsOver(name: string, createLog: CreateLog, sql?: string): void {
  describe(`operations of two nodes over the log of ${name}`, () => {
    let test: TestDatabase
    const nodes: { world: World; served: Served }[] = []
    beforeAll(async () => {
      test = await createTestDatabase()
      const pool = new pg.Pool({ connectionString: test.url, max: 1 })
      if (sql !== undefined) await pool.query(sql)
      await pool.end()
      for (let n = 0; n < 2; n += 1) {
        const world = await createWorld({ databaseUrl: test.url, createLog, headCheckMs: 100 })
        nodes.push({ world, served: await serve(world) })
      }
    })
    afterAll(async () => {
      for (const { world, served } of nodes) {
        await world.close()
        await served.close()
      }
      await test.drop()
    })
    const node = (n: number) => nodes[n % 2] as { world: World; served: Served }
    const hear = async (n: number, channel: string, user = 'ada') => {
      const client = await connected(centrifuge(node(n).served.url, user))
      return { client, ...(await listen(client, channel)) }
    }

    it('show each event once, in offset order without a hole, on both nodes', async () => {
      const id = randomUUID()
      const heard = await Promise.all([hear(0, `room:${id}`), hear(1, `room:${id}`)])
      const outcomes = await Promise.all(
        Array.from({ length: 60 }, (_, n) =>
          node(n).world.addNote.call({ room: id, id: `${id} ${n}`, text: String(n) }, { user: 'ada' }),
        ),
      )
      const all = Array.from({ length: 60 }, (_, index) => index + 1)
      const offsetOf = new Map<string, number | undefined>()
      for (const { inbox, client } of heard) {
        const items = await inbox.until((found) => found.length >= 60)
        expect(items.map(({ offset }) => offset)).toEqual(all)
        for (const { data, offset } of items)
          offsetOf.set((data as { operationId: string }).operationId, offset)
        client.disconnect()
      }
      // Each caller is told where its own event stands.
      for (const outcome of outcomes) {
        if (outcome.outcome !== 'committed') throw new Error(outcome.outcome)
        expect(outcome.positions[`room:${id}`]?.offset).toBe(offsetOf.get(outcome.operationId))
      }
    })

    it('answer a repeated call with the outcome and the positions of the first', async () => {
      const [id, at] = [newOperationId(), randomUUID()]
      const call = (n: number) =>
        node(n).world.addNote.call({ room: at, id: at, text: 'once' }, { user: 'ada', id })
      const first = await call(0)
      expect(first).toMatchObject({ outcome: 'committed', positions: { [`room:${at}`]: { offset: 1 } } })
      expect(await call(1)).toEqual(first)
      expect(await node(0).world.eventsOf(`room:${at}`)).toHaveLength(1)
    })

    it('roll back with a notice and without an event', async () => {
      const at = randomUUID()
      const { inbox, client } = await hear(1, `room:${at}`, at)
      const notices: unknown[] = []
      client.on('publication', ({ data }) => notices.push(data))
      const outcome = await node(0).world.addNote.call(
        { room: at, id: at, text: 'no', fail: true },
        { user: at },
      )
      expect(outcome.outcome).toBe('rolled_back')
      await node(0).world.addNote.call({ room: at, id: at, text: 'yes' }, { user: at })
      expect((await inbox.until((found) => found.length > 0)).map(({ offset }) => offset)).toEqual([1])
      expect(notices).toMatchObject([{ type: 'transaction_rolled_back' }])
      client.disconnect()
    })

    it('emit to several channels, and answer the last offset in each', async () => {
      const [a, b] = [randomUUID(), randomUUID()]
      const id = newOperationId()
      await node(0).world.lockstep.transaction({ name: 'two rooms', user: 'ada', id }, async (tx) => {
        tx.emit(room({ id: a }), 'counted', { n: 1 })
        tx.emit(room({ id: b }), 'counted', { n: 2 })
        tx.emit(room({ id: a }), 'counted', { n: 3 })
      })
      const { inbox, client } = await hear(1, `room:${a}`)
      await node(1).world.lockstep.transaction({ name: 'two rooms', user: 'ada' }, async (tx) => {
        tx.emit(room({ id: a }), 'counted', { n: 4 })
      })
      expect((await inbox.until((found) => found.length > 0)).map(({ offset }) => offset)).toEqual([3])
      const stored = await node(0).world.rows<{ positions: unknown }>(
        'select positions from lockstep.operations where id = $1',
        [id],
      )
      expect(stored).toEqual([{ positions: { [`room:${a}`]: 2, [`room:${b}`]: 1 } }])
      client.disconnect()
    })
  })
}

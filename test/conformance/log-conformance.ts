// Rules of every log, however it gives offsets: append, say where events stand, read, settle, trim.
import { randomUUID } from 'node:crypto'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Retention, type Append, type CreateLog, type Landed, type Log } from '../../src/log/index.ts'
import { UnwatchedHistory } from '../../src/log/log-history.ts'
import { systemClock } from '../../src/core/index.ts'
import { silentLogger } from '../../src/index.ts'
import { fromPool, type OperationKey, type PendingEvent } from '../../src/postgres/index.ts'
import { createTestDatabase, type TestDatabase } from '../support/database.ts'
import { keyOf, noticeFor } from '../support/settlements.ts'

const waits = { firstMs: 2_000, nextMs: 2_000 }

const noted = (channel: string, n: number): PendingEvent => ({
  channel,
  type: 'noted',
  data: JSON.stringify({ n, text: 'ü "\\ \u2028' }),
})

/** @param sql tables and functions that the log needs in the database beside the product's own schema */
export function describeLog(name: string, createLog: CreateLog, sql?: string): void {
  describe(`the log of ${name}`, () => {
    let test: TestDatabase
    let pool: pg.Pool
    let database: ReturnType<typeof fromPool>
    let log: Log
    beforeAll(async () => {
      test = await createTestDatabase()
      pool = new pg.Pool({ connectionString: test.url, max: 12 })
      if (sql !== undefined) await pool.query(sql)
      database = fromPool(pool, { acquireTimeoutMs: 60_000 })
      log = createLog(database.own, database.schema, new UnwatchedHistory())
    })
    afterAll(async () => {
      await database.close()
      await pool.end()
      await test.drop()
    })

    const channelName = (): string => `room:${randomUUID()}`
    const append = async (key: OperationKey, events: readonly PendingEvent[]) => {
      const open = await database.begin({ operationId: key.id })
      const asked: Append = log.append.flush(key, '"saved"', events)
      const ended = await open.commit([asked.statement])
      if (ended.ending !== 'committed') throw new Error(ended.ending, { cause: ended.error })
      return { asked, landed: (): Landed | Promise<Landed> => asked.landed(ended.flushed[0]?.rows[0]) }
    }
    const commit = async (events: readonly PendingEvent[], key = keyOf('ada')) =>
      (await append(key, events)).landed()
    const read = (channel: string) => log.read.readAfter(channel, 0, 1_000)

    it('says where the events of a commit stand, in the order of their emission, and reads them so', async () => {
      const [a, b] = [channelName(), channelName()]
      await commit([noted(a, 1)])
      const { offsets, events } = await commit([noted(b, 2), noted(a, 3), noted(b, 4), noted(a, 5)])
      expect(offsets).toEqual(new Map([[a, 3], [b, 2]])) // prettier-ignore
      const placesIn = (channel: string) =>
        events.filter((event) => event.channel === channel).map(({ offset, data }) => [offset, data])
      expect(placesIn(a)).toEqual([[2, noted(a, 3).data], [3, noted(a, 5).data]]) // prettier-ignore
      expect(placesIn(b)).toEqual([[1, noted(b, 2).data], [2, noted(b, 4).data]]) // prettier-ignore
      expect(await log.read.readAfter(a, 1, 10)).toEqual(events.filter((event) => event.channel === a))
      expect(await log.read.readBetween(b, 0, 2, 1e6)).toEqual(events.filter((event) => event.channel === b))
    })

    it('gives a channel offsets from 1 on, without a hole and each once, to commits that come at once', async () => {
      const channel = channelName()
      const landed = await Promise.all(
        Array.from({ length: 40 }, (_, n) => commit([noted(channel, n), noted(channel, n)])),
      )
      const all = Array.from({ length: 80 }, (_, index) => index + 1)
      expect(
        landed.flatMap(({ events }) => events.map(({ offset }) => offset)).toSorted((a, b) => a - b),
      ).toEqual(all)
      const stored = await read(channel)
      expect(stored.map(({ offset }) => offset)).toEqual(all)
      // Events of one operation stand together.
      for (let at = 0; at < 80; at += 2) expect(stored[at]?.operationId).toBe(stored[at + 1]?.operationId)
      expect((await log.read.headsOf([channel])).heads.get(channel)).toBe(80)
      expect((await log.read.headOf(channel)).head).toBe(80)
    })

    it('gives an operation that began after the answer to another one the later offset', async () => {
      const channel = channelName()
      for (let n = 1; n <= 10; n += 1) {
        expect((await commit([noted(channel, n)])).offsets).toEqual(new Map([[channel, n]]))
      }
    })

    it('appends the outcome of an operation without events', async () => {
      const key = keyOf('ada')
      expect(await commit([], key)).toEqual({ offsets: new Map(), events: [] })
      expect(await log.append.outcomesOf('ada', [key.id])).toMatchObject([
        { state: 'committed', result: '"saved"', offsets: new Map() },
      ])
    })

    it('finds the places of a commit whose answer was lost', async () => {
      const [channel, key] = [channelName(), keyOf('ada')]
      await commit([noted(channel, 0)])
      const { asked } = await append(key, [noted(channel, 1), noted(channel, 2)])
      const [outcome] = await log.append.outcomesOf('ada', [key.id])
      expect(outcome).toMatchObject({ state: 'committed', offsets: new Map([[channel, 3]]) })
      const found = { operationId: key.id, emitted: asked.emitted, offsets: outcome?.offsets ?? new Map() }
      expect(await log.append.eventsOf(found)).toEqual(await log.read.readAfter(channel, 1, 10))
      expect(await log.append.outcomesOf('eve', [key.id])).toEqual([])
    })

    it('answers a settlement of a commit with its places, and appends nothing', async () => {
      const [channel, key] = [channelName(), keyOf('ada')]
      await append(key, [noted(channel, 1)])
      const [settled] = await log.append.settle([{ key, events: [noted(channel, 9)] }], waits)
      expect(settled).toMatchObject({
        settled: false,
        state: 'committed',
        positions: { [channel]: 1 },
        events: [],
      })
      expect((await read(channel)).map(({ data }) => data)).toEqual([noted(channel, 1).data])
    })

    it('appends the events of a settlement that decides, behind those of commits, and fences the operation', async () => {
      const [channel, key] = [channelName(), keyOf('ada')]
      await commit([noted(channel, 1)])
      const settlement = { key, notice: noticeFor(key), events: [noted(channel, 2), noted(channel, 3)] }
      const [settled] = await log.append.settle([settlement], waits)
      expect(settled).toMatchObject({ settled: true, state: 'rolled_back' })
      expect(settled?.events.map(({ offset }) => offset)).toEqual([2, 3])
      expect(await log.read.readAfter(channel, 1, 10)).toEqual(settled?.events)
      await expect(append(key, [noted(channel, 4)])).rejects.toThrow('rolled_back')
      expect(await read(channel)).toHaveLength(3)
      expect((await commit([noted(channel, 5)])).offsets.get(channel)).toBe(4)
    })

    it('has nothing of a transaction that was rolled back', async () => {
      const [channel, key] = [channelName(), keyOf('ada')]
      const open = await database.begin({ operationId: key.id })
      const { text, values = [] } = log.append.flush(key, null, [noted(channel, 1)]).statement
      await open.db.query(text, values)
      await open.rollback()
      expect((await commit([noted(channel, 2)])).offsets.get(channel)).toBe(1)
      expect(await log.append.outcomesOf('ada', [key.id])).toEqual([])
    })

    it('trims old events, and keeps the heads', async () => {
      const channel = channelName()
      await commit([noted(channel, 1), noted(channel, 2)])
      await pool.query(`update lockstep.events set at = at - interval '1 hour' where channel = $1`, [channel])
      await commit([noted(channel, 3)])
      const { own } = database
      const tables = [log.trim(60_000)]
      const retention = new Retention({
        own,
        clock: systemClock,
        logger: silentLogger,
        tables,
        pagesPerStep: 10_000,
      })
      while (!(await retention.step()));
      expect((await read(channel)).map(({ offset }) => offset)).toEqual([3])
      expect((await commit([noted(channel, 4)])).offsets.get(channel)).toBe(4)
    })
  })
}

// Followers of channels for the server itself: each event in order, each once, over two nodes and any log.
import { randomUUID } from 'node:crypto'
import pg from 'pg'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { LockstepError, systemClock, type Queryable } from '../../../src/core/index.ts'
import { EventHub } from '../../../src/feeds/index.ts'
import { createCountedLog, Follower, type CreateLog, type StoredEvent } from '../../../src/log/index.ts'
import { UnwatchedHistory } from '../../../src/log/log-history.ts'
import { fromPool, type PendingEvent } from '../../../src/postgres/index.ts'
import type { StreamPosition } from '../../../src/protocol/index.ts'
import { batchedLogSql, createBatchedLog } from '../../support/batched-log.ts'
import { createTestDatabase, type TestDatabase } from '../../support/database.ts'
import { keyOf } from '../../support/settlements.ts'
import { createTestLogger } from '../../support/world.ts'
import { eventually } from '../../support/eventually.ts'

const logs: readonly [string, CreateLog, string?][] = [
  ['counted offsets', createCountedLog],
  ['offsets given in batches', createBatchedLog, batchedLogSql],
]

describe.each(logs)('a follower over the log of %s', (_, createLog, sql) => {
  let test: TestDatabase
  let pool: pg.Pool
  let database: ReturnType<typeof fromPool>
  let node: ReturnType<typeof createNode>
  const followers: Follower[] = []
  /** Pages of the log cannot be read. */
  let isAway = false
  let refused = 0
  beforeEach(async () => {
    test = await createTestDatabase()
    pool = new pg.Pool({ connectionString: test.url, max: 6 })
    if (sql !== undefined) await pool.query(sql)
    database = fromPool(pool)
    isAway = false
    refused = 0
    node = createNode()
  })
  afterEach(async () => {
    for (const follower of followers.splice(0)) follower.close()
    node.hub.close()
    await database.close()
    await pool.end()
    await test.drop()
  })

  function createNode() {
    const own: Queryable = {
      query: (statement) => {
        if (!isAway || !statement.text.includes('.events')) return database.own.query(statement)
        refused += 1
        return Promise.reject(new LockstepError('LS_CONNECTION_LOST'))
      },
    }
    const log = createLog(own, database.schema, new UnwatchedHistory())
    return { log, hub: new EventHub({ log: log.read, clock: systemClock, logger: createTestLogger() }) }
  }
  const channel = `lockstep:test-${randomUUID()}`
  const noted = (n: number): PendingEvent => ({ channel, type: 'noted', data: `${n}` })
  /** Commits, and gives the events as they landed. */
  const commit = async (...numbers: readonly number[]): Promise<readonly StoredEvent[]> => {
    const key = keyOf('ada')
    const open = await database.begin({ operationId: key.id })
    const append = node.log.append.flush(key, null, numbers.map(noted))
    const ended = await open.commit([append.statement])
    if (ended.ending !== 'committed') throw new Error(ended.ending)
    return (await append.landed(ended.flushed[0]?.rows[0])).events
  }
  const follow = async (
    options: { from?: StreamPosition; hear?: (events: readonly StoredEvent[]) => Promise<void> } = {},
  ) => {
    const heard: (readonly [offset: number, n: number])[] = []
    const resets: StreamPosition[] = []
    const { from, hear } = options
    const follower = new Follower({
      log: node.log.read,
      hints: node.hub,
      clock: systemClock,
      logger: createTestLogger(),
      channel,
      ...(from === undefined ? {} : { from }),
      hear: (events) => {
        for (const { offset, data } of events) heard.push([offset, Number(data)])
        return hear?.(events)
      },
      reset: (position) => void resets.push(position),
    })
    followers.push(follower)
    await follower.start()
    return { follower, heard, resets }
  }
  const places = (count: number, from = 1) => Array.from({ length: count }, (__, n) => [n + from, n + from])
  const epochOf = async () => (await node.log.read.headOf(channel)).epoch

  it('hears from the head on what is committed, in whatever order it is heard, each once', async () => {
    await commit(1, 2)
    const { heard, resets } = await follow()
    const later = [await commit(3), await commit(4, 5), await commit(6)].flat()
    for (const index of [2, 0, 0, 3, 1]) node.hub.deliver(later.slice(index, index + 1))
    expect(heard).toEqual(places(4, 3))
    expect(resets).toEqual([])
  })

  it('fills a hole from the log, and the end by the comparison of heads', async () => {
    const { heard } = await follow()
    await commit(1)
    node.hub.deliver(await commit(2))
    await eventually(() => expect(heard).toEqual(places(2)))
    await commit(3)
    await node.hub.checkHeads()
    await eventually(() => expect(heard).toEqual(places(3)))
  })

  it('begins at a position, however far behind', async () => {
    for (let n = 0; n < 12; n += 1) await commit(...Array.from({ length: 100 }, (__, i) => n * 100 + i + 1))
    const { heard, resets } = await follow({ from: { offset: 150, epoch: await epochOf() } })
    await eventually(() => expect(heard).toHaveLength(1_050))
    expect(heard).toEqual(places(1_050, 151))
    expect(resets).toEqual([])
  })

  it('hands nothing over while its hearer is busy, and nothing is lost', async () => {
    let free = (): void => {}
    const isFree = new Promise<void>((resolve) => (free = resolve))
    const { heard } = await follow({ hear: () => isFree })
    node.hub.deliver(await commit(1))
    for (const n of [2, 3, 4]) node.hub.deliver(await commit(n))
    expect(heard).toEqual(places(1))
    free()
    await eventually(() => expect(heard).toEqual(places(4)))
  })

  it('hears when events behind its position are removed, and goes on behind them', async () => {
    await commit(1, 2, 3)
    const epoch = await epochOf()
    await pool.query('delete from lockstep.events where channel = $1 and "offset" <= 2', [channel])
    const { heard, resets } = await follow({ from: { offset: 0, epoch } })
    await eventually(() => expect(heard).toEqual([[3, 3]]))
    expect(resets).toEqual([{ offset: 2, epoch }])
    await pool.query('delete from lockstep.events where channel = $1', [channel])
    const all = await follow({ from: { offset: 0, epoch } })
    await eventually(() => expect(all.resets).toEqual([{ offset: 3, epoch }]))
    node.hub.deliver(await commit(4))
    expect(all.heard).toEqual([[4, 4]])
  })

  it('hears of another history, and of a position that is of none', async () => {
    await commit(1, 2)
    const stranger = await follow({ from: { offset: 1, epoch: 'of a backup' } })
    expect(stranger.resets).toEqual([{ offset: 2, epoch: await epochOf() }])
    const beyond = await follow({ from: { offset: 9, epoch: await epochOf() } })
    expect(beyond.resets).toEqual([{ offset: 2, epoch: await epochOf() }])
    await pool.query(`update lockstep.meta set epoch = 'next'`)
    await node.hub.checkHeads().catch(() => {})
    await eventually(() => expect(stranger.resets.at(-1)).toEqual({ offset: 2, epoch: 'next' }))
    node.hub.deliver(await commit(3))
    await eventually(() => expect(stranger.heard).toEqual([[3, 3]]))
  })

  it('tries again where the log cannot be read, and hears nothing once closed', async () => {
    await commit(1)
    isAway = true
    const { follower, heard } = await follow({ from: { offset: 0, epoch: await epochOf() } })
    await eventually(() => expect(refused).toBeGreaterThan(1))
    expect(heard).toEqual([])
    isAway = false
    await vi.waitFor(() => expect(heard).toEqual(places(1)), { timeout: 10_000 })
    follower.close()
    node.hub.deliver(await commit(2))
    expect(heard).toEqual(places(1))
  })
})

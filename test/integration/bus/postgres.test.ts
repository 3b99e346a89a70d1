import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { postgresBus, type Bus } from '../../../src/bus/index.ts'
import { systemClock, type DatabaseSession } from '../../../src/core/index.ts'
import type { StoredEvent } from '../../../src/log/index.ts'
import { fromPglite, fromPool } from '../../../src/postgres/index.ts'
import { describeBus } from '../../conformance/bus-conformance.ts'
import { createFaultProxy } from '../../faults/proxy.ts'
import { createTestDatabase, type TestDatabase } from '../../support/database.ts'
import { Inbox } from '../../support/sockets.ts'
import { createTestLogger } from '../../support/world.ts'
import { ManualClock } from '../../support/manual-clock.ts'

describeBus('postgres', async (databaseUrl) => {
  const proxy = await createFaultProxy({ target: () => Number(new URL(databaseUrl).port) })
  const proxied = new URL(databaseUrl)
  proxied.port = String(proxy.port)
  const pool = new pg.Pool({ connectionString: proxied.href })
  const database = fromPool(pool)
  return {
    createBus: async (options) => postgresBus(database, options),
    outage: {
      begin: async () => {
        proxy.refusing = true
        for (const link of proxy.links) link.client.destroy()
      },
      end: async () => {
        proxy.refusing = false
      },
    },
    close: async () => {
      await database.close()
      await pool.end()
      await proxy.close()
    },
  }
})

describe('the connection of a bus over postgres', () => {
  let test: TestDatabase
  let pool: pg.Pool
  let database: ReturnType<typeof fromPool>
  beforeAll(async () => {
    test = await createTestDatabase()
    pool = new pg.Pool({ connectionString: test.url, max: 2 })
    database = fromPool(pool)
  })
  afterAll(async () => {
    await database.close()
    await pool.end()
    await test.drop()
  })

  function start(bus: Bus) {
    const missed = new Inbox<string>()
    const started = bus.start({
      scope: 'a history',
      clock: systemClock,
      logger: createTestLogger(),
      events: () => {},
      heads: () => {},
      transients: () => {},
      missed: () => missed.push(bus.health.state),
    })
    return { started, missed }
  }

  it('is made anew when its backend is terminated, and heads are compared then', async () => {
    const bus = postgresBus(database)
    const { started, missed } = start(bus)
    await started
    expect(missed.items).toEqual(['up'])
    const { rowCount } = await pool.query(
      `select pg_terminate_backend(pid) from pg_stat_activity
       where datname = current_database() and application_name = 'lockstep bus'`,
    )
    expect(rowCount).toBe(1)
    await missed.until((items) => items.length === 2)
    expect(bus.health).toEqual({ kind: 'postgres', state: 'up' })
    await bus.close()
  })

  it('that is accepted and never answered holds up no start, and is made anew until it is answered', async () => {
    let isMute = true
    const proxy = await createFaultProxy({
      target: () => Number(new URL(test.url).port),
      intercept: (link) => ({
        up(bytes) {
          // Stalls the connection behind its handshake, whose time limit does not apply any more.
          if (isMute && bytes.includes('synchronous_commit')) link.stall('down')
          link.pass('up', bytes)
        },
        down: (bytes) => link.pass('down', bytes),
      }),
    })
    const proxied = new URL(test.url)
    proxied.port = String(proxy.port)
    const mutePool = new pg.Pool({ connectionString: proxied.href })
    const muteDatabase = fromPool(mutePool)
    const bus = postgresBus(muteDatabase, { selfTestMs: 1_000 })
    const { started, missed } = start(bus)
    await started
    expect(bus.health).toMatchObject({ state: 'down', problem: 'no connection was made in time' })
    expect(missed.items).toEqual([])
    isMute = false
    await missed.until((items) => items.length === 1)
    expect(bus.health).toEqual({ kind: 'postgres', state: 'up' })
    await bus.close()
    await muteDatabase.close()
    await mutePool.end()
    await proxy.close()
  })

  it('says that a pooler may be the reason when it does not hear itself, and goes on', async () => {
    const openSession = async (): Promise<DatabaseSession> => {
      const session = await database.openSession?.()
      if (session === undefined) throw new Error('no session')
      // Act like a pooler in transaction mode: LISTEN is accepted, and heard by whoever has the connection next.
      return { ...session, onNotification: () => {} }
    }
    const bus = postgresBus({ openSession }, { selfTestMs: 100 })
    const { started, missed } = start(bus)
    await started
    expect(bus.health).toMatchObject({ state: 'down', problem: expect.stringContaining('pooler') as unknown })
    bus.publish([{ channel: 'room:a', offset: 1, operationId: '', type: 't', data: '1', at: new Date() }])
    expect(missed.items).toEqual([])
    await bus.close()
  })

  it('sends a lone event at once, gathers a stream, and has no ear for itself', async () => {
    const [clock, heard] = [new ManualClock(), new Inbox<number>()]
    const [sender, receiver] = [postgresBus(database), postgresBus(database)]
    const [own, logger] = [new Inbox<number>(), createTestLogger()]
    const port = (to: Inbox<number>) => ({
      scope: 'a history',
      logger,
      heads: () => {},
      transients: () => {},
      missed: () => {},
      events: (events: readonly StoredEvent[]) => events.forEach(({ offset }) => to.push(offset)),
    })
    const subscribed = new Inbox<true>()
    await sender.start({ ...port(own), clock })
    await receiver.start({ ...port(heard), clock: systemClock, missed: () => subscribed.push(true) })
    sender.serve('room:a')
    receiver.serve('room:a')
    await subscribed.until((items) => items.length === 2)
    const publish = (offset: number): void =>
      sender.publish([
        { channel: 'room:a', offset, operationId: '', type: 't', data: '"\\n\\u0000"', at: new Date() },
      ])
    // No time goes by for the sender, so nothing that waits for some is heard.
    publish(1)
    await heard.until((offsets) => offsets.length === 1)
    for (let offset = 2; offset <= 12; offset += 1) publish(offset)
    receiver.publish([
      { channel: 'room:a', offset: 100, operationId: '', type: 't', data: '1', at: new Date() },
    ])
    await own.until((offsets) => offsets.length === 1)
    expect(heard.items).toEqual([1])
    clock.advance(10)
    await heard.until((offsets) => offsets.length === 12)
    publish(13)
    clock.advance(19)
    expect(heard.items).toHaveLength(12)
    clock.advance(1)
    await heard.until((offsets) => offsets.length === 13)
    expect(own.items).toEqual([100])
    await Promise.all([sender.close(), receiver.close()])
  })

  it('is refused where there is no LISTEN', () => {
    const neverAsked = (): Promise<never> => Promise.reject(new Error('asked'))
    const pglite = fromPglite({ query: neverAsked, exec: neverAsked, transaction: neverAsked })
    expect(() => postgresBus(pglite)).toThrow('This database has no LISTEN for a bus.')
  })
})

// Errors that tell of the database, and not of a fault in the code: what the user, the pool and health make of them.
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { newOperationId } from '../../../src/index.ts'
import { createFaultProxy } from '../../faults/proxy.ts'
import { startOwnPostgres } from '../../support/postgres.ts'
import { centrifuge, connected, Inbox, serve } from '../../support/sockets.ts'
import { createWorld, type World } from '../../support/world.ts'

const healthOf = async (world: World) => {
  return world.lockstep.health.report()
}

describe('a server that is out of something', () => {
  let world: World

  beforeAll(async () => {
    world = await createWorld({ bus: false })
    await world.rows(`create function public.is_full() returns trigger language plpgsql as $$ begin
      raise exception 'could not extend file: No space left on device' using errcode = tg_argv[0];
    end $$`)
  })
  afterAll(() => world.close())

  it.each([
    ['53100', 'LS_DATABASE_RESOURCES'],
    ['53200', 'LS_DATABASE_RESOURCES'],
    ['53400', 'LS_DATABASE_RESOURCES'],
    ['53300', 'LS_POOL_EXHAUSTED'],
    ['57P01', 'LS_CONNECTION_LOST'],
    ['57P03', 'LS_DATABASE_UNREACHABLE'],
    ['58030', 'LS_DATABASE_RESOURCES'],
    ['25006', 'LS_DATABASE_READ_ONLY'],
  ])('%s is told as retryable, its connection is discarded, and health says so', async (state, code) => {
    const pids = new Set<number>()
    const id = newOperationId()
    const running = world.lockstep.transaction({ name: 'state', user: 'state', id }, async ({ db }) => {
      const { rows } = await db.query<{ pid: number }>('select pg_backend_pid() as pid')
      pids.add(rows[0]?.pid ?? 0)
      await db.query(`do $$ begin raise exception 'state' using errcode = '${state}'; end $$`)
    })
    await expect(running).rejects.toMatchObject({ code: state })
    const [row] = await world.rows<{ notice: unknown }>(
      'select notice from lockstep.operations where id = $1',
      [id],
    )
    expect(row?.notice).toMatchObject({ errorCode: code, recoveryActions: ['retry'] })
    expect(await healthOf(world)).toMatchObject({
      status: 'degraded',
      databaseTrouble: { code, sqlState: state },
    })
    const alive = () => world.rows('select from pg_stat_activity where pid = any($1)', [[...pids]])
    await expect.poll(alive).toEqual([])
  })

  it('a full disk raises no violation, and the notice follows when there is room', async () => {
    const served = await serve(world)
    const client = await connected(centrifuge(served.url, 'full'))
    const notices = new Inbox<{ readonly offset?: number; readonly data: unknown }>()
    client.on('publication', notices.push)
    for (const table of ['operations', 'intents', 'events']) {
      await world.rows(`create trigger full_disk before insert or update on lockstep.${table}
        for each row execute function public.is_full('53100')`)
    }
    const id = newOperationId()
    const input = { room: 'full', id: 'full', text: 'x' }
    const reply = (await client.rpc('add_note', { id, input })).data as { readonly outcome: string }
    expect(reply).toMatchObject({
      outcome: 'rolled_back',
      notice: { errorCode: 'LS_DATABASE_RESOURCES', transient: true },
    })
    await notices.until((items) => items.length > 0)
    // Waits for longer than the log is asked about an operation that it does not know.
    await expect
      .poll(
        () => world.logger.lines.filter(({ message }) => /outcome is not known yet/.test(message)).length,
        {
          timeout: 30_000,
        },
      )
      .toBeGreaterThan(9)
    for (const table of ['operations', 'intents', 'events']) {
      await world.rows(`drop trigger full_disk on lockstep.${table}`)
    }
    await notices.until((items) => items.some(({ offset }) => offset !== undefined))
    expect(await world.lockstep.health.violations()).toEqual([])
    client.disconnect()
    await served.close()
  }, 60_000)
})

it('a primary that was demoted and lives on is left at once: operations commit on its successor', async () => {
  const [former, successor] = await Promise.all([
    startOwnPostgres({ durable: false }),
    startOwnPostgres({ durable: false }),
  ])
  // The application's address and password lead to either server, as after a failover.
  const { password } = new URL(former.server.url)
  const there = await createWorld({ databaseUrl: successor.server.url, bus: false })
  await there.rows(`alter role current_user password '${password}'`)
  let { port } = former.server
  const proxy = await createFaultProxy({ target: () => port })
  const through = (url: string): string => {
    const at = new URL(url)
    at.port = String(proxy.port)
    return at.href
  }
  const world = await createWorld({ databaseUrl: former.server.url, through, bus: false, poolSize: 4 })
  const add = (id: string) => world.addNote.call({ room: 'demoted', id, text: 'x' }, { user: 'ada' })
  try {
    expect((await add('before')).outcome).toBe('committed')
    await writeFile(join(former.server.directory, 'data', 'standby.signal'), '')
    await former.server.restart()
    const reads = () =>
      world.pool.query<{ in_recovery: boolean }>('select pg_is_in_recovery() as in_recovery')
    await expect
      .poll(() =>
        reads().then(
          ({ rows }) => rows,
          () => 'restarting',
        ),
      )
      .toEqual([{ in_recovery: true }])
    await Promise.all([reads(), reads(), reads(), reads()])
    port = successor.server.port

    // The successor has a history of its own: what runs while the node begins anew there is rolled back, and may be retried.
    let tries = 0
    const refusals: string[] = []
    await expect
      .poll(async () => {
        tries += 1
        const outcome = await add(`try ${tries}`)
        if (outcome.outcome === 'rolled_back') refusals.push(...outcome.notice.recoveryActions)
        return outcome.outcome
      })
      .toBe('committed')
    expect(new Set(refusals)).toEqual(new Set(tries === 1 ? [] : ['retry']))
    const all = await Promise.all(['four', 'five', 'six', 'seven', 'eight'].map(add))
    expect(new Set(all.map(({ outcome }) => outcome))).toEqual(new Set(['committed']))
    expect(await there.rows('select id from notes')).toHaveLength(6)
    expect(await healthOf(world)).toMatchObject({ historyChange: { to: (await healthOf(there)).epoch } })
  } finally {
    await world.close()
    await there.close()
    await proxy.close()
    await former.close()
    await successor.close()
  }
}, 120_000)

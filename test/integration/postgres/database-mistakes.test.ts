// A database that cannot be used as it is, and limits of its own that end a transaction: what the code says, and the log.
import { Socket } from 'node:net'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createLockstep, fromPool, newOperationId, type PgDatabase } from '../../../src/index.ts'
import { createFaultProxy } from '../../faults/proxy.ts'
import { createTestDatabase, type TestDatabase } from '../../support/database.ts'
import { createTestLogger, createWorld, room, type World } from '../../support/world.ts'

/** Starts a node twice on this address, and gives back what `start` threw, and the lines of level error. */
async function startOn(url: string, schema = 'lockstep') {
  const logger = createTestLogger()
  const sockets: Socket[] = []
  const stream = (): Socket => {
    const socket = new Socket()
    sockets.push(socket)
    return socket
  }
  const pool = new pg.Pool({ connectionString: url, max: 2, stream })
  pool.on('error', () => {})
  const lockstep = createLockstep({ database: fromPool(pool, { schema }), bus: false, logger })
  const problem = async (): Promise<unknown> => lockstep.start().catch((error: unknown) => error)
  const [first, second] = [await problem(), await problem()]
  await lockstep.close({ drainMs: 0 })
  await pool.end()
  // `pg` leaves a connection open whose password it could not send, and the server then drops no database for a minute.
  for (const socket of sockets) socket.destroy()
  const lines = logger.lines.filter(({ level }) => level === 'error').map(({ message }) => message)
  return { first, second, lines }
}

describe('a start', () => {
  let test: TestDatabase
  let admin: pg.Pool
  const role = `mistakes_${Date.now().toString(36)}`
  const addressWith = (change: Partial<URL>): string => Object.assign(new URL(test.url), change).href

  beforeAll(async () => {
    test = await createTestDatabase()
    admin = new pg.Pool({ connectionString: test.url, max: 1 })
    admin.on('error', () => {})
    await admin.query(`create role ${role} login password '${role}'`)
  })
  afterAll(async () => {
    await admin.query(`drop owned by ${role}`)
    await admin.query(`drop role ${role}`)
    await admin.end()
    await test.drop()
  })

  it.each([
    [
      'a database that does not exist',
      { pathname: '/no_such_database' },
      /no_such_database.*Create the database, or correct its name/,
    ],
    [
      'a wrong password',
      { username: role, password: 'hunter2' },
      new RegExp(`${role}.*Check user and password`),
    ],
    ['no password', { username: role, password: '' }, /No password was given.*DATABASE_URL/],
    [
      'a user that does not exist',
      { username: 'no_such_user', password: 'x' },
      /no_such_user.*Check (the )?user/,
    ],
  ])('on %s says what to check, at once and once, and is not worth repeating', async (_, change, words) => {
    const { first, second, lines } = await startOn(addressWith(change))
    for (const error of [first, second]) {
      expect(error).toMatchObject({ code: 'LS_DATABASE_REFUSED', retryable: false })
      expect((error as Error).message).toMatch(words)
      expect((error as Error).message).not.toContain('hunter2')
      expect((error as { publicMessage?: string }).publicMessage).toBe(
        "The database refuses the server's connection.",
      )
    }
    expect(lines.filter((line) => words.test(line))).toHaveLength(1)
  })

  it.each([
    ['a host that there is not', { hostname: 'no-such-host.invalid' }, /Check the host in the address/],
    ['a port where nobody listens', { port: '1' }, /Check host and port in the address/],
  ])('on %s says what to check, and may be repeated', async (_, change, words) => {
    const { first, lines } = await startOn(addressWith(change))
    expect(first).toMatchObject({ code: 'LS_DATABASE_UNREACHABLE', retryable: true })
    expect((first as Error).message).toMatch(words)
    expect(lines.filter((line) => words.test(line))).toHaveLength(1)
  })

  it('without a right names the grant, which is enough once it was run', async () => {
    const url = addressWith({ username: role, password: role })
    const wanted = async (schema: string): Promise<readonly string[]> => {
      const { first } = await startOn(url, schema)
      expect(first).toMatchObject({ code: 'LS_DATABASE_RIGHTS', retryable: false })
      const { message, details } = first as Error & {
        readonly details: { readonly grants: readonly string[] }
      }
      for (const grant of details.grants) expect(message).toContain(grant)
      return details.grants
    }
    // The role has no schema, and no right to make one.
    const toCreate = await wanted('its_own')
    expect(toCreate).toEqual([`grant create on database "${test.name}" to "${role}";`])
    // The tables were made by another role.
    const toUse = await wanted('lockstep')
    // No migration is left to do, so nothing is to be created, and nobody is to be made an owner.
    expect(toUse).toEqual([
      `grant usage on schema "lockstep" to "${role}";`,
      `grant select, insert, update, delete on all tables in schema "lockstep" to "${role}";`,
    ])
    for (const grant of [...toCreate, ...toUse]) await admin.query(grant)
    expect(await startOn(url, 'its_own')).toMatchObject({ first: undefined })
    expect(await startOn(url, 'lockstep')).toMatchObject({ first: undefined })
  })

  it('that has to migrate tables of a superuser is told who is to migrate, and to make nobody a superuser', async () => {
    const url = addressWith({ username: role, password: role })
    await admin.query(`grant usage, create on schema lockstep to ${role}`)
    await admin.query(`grant select, insert, update, delete on all tables in schema lockstep to ${role}`)
    // Migration 11 is the last that changes a table, which takes its owner; later ones make tables of their own.
    const { rows } = await admin.query(`delete from lockstep.migrations where version >= 11 returning *`)
    try {
      const { first } = await startOn(url, 'lockstep')
      const { rows: owners } = await admin.query<{ name: string }>('select current_user as name')
      expect(first).toMatchObject({
        code: 'LS_DATABASE_RIGHTS',
        message: expect.stringContaining(
          `belong to ${owners[0]?.name}: start one node as their owner`,
        ) as string,
        details: { grants: [] },
      })
      expect((first as Error).message).not.toMatch(/grant/i)
    } finally {
      await admin.query(
        `insert into lockstep.migrations select * from json_populate_recordset(null::lockstep.migrations, $1)`,
        [JSON.stringify(rows)],
      )
    }
  })

  it('asks once for the rights behind statements that are refused with the same words', async () => {
    let asked = 0
    const proxy = await createFaultProxy({
      target: () => Number(new URL(test.url).port),
      intercept: (link) => ({
        up(bytes) {
          if (bytes.includes('has_schema_privilege(')) asked += 1
          link.pass('up', bytes)
        },
        down: (bytes) => link.pass('down', bytes),
      }),
    })
    await admin.query(`grant usage on schema lockstep to ${role}`)
    await admin.query(`grant select, insert, update, delete on all tables in schema lockstep to ${role}`)
    const pool = new pg.Pool({
      connectionString: addressWith({
        username: role,
        password: role,
        hostname: '127.0.0.1',
        port: `${proxy.port}`,
      }),
      max: 2,
    })
    pool.on('error', () => {})
    const lockstep = createLockstep({ database: fromPool(pool), bus: false, logger: createTestLogger() })
    try {
      await lockstep.start()
      await admin.query(`revoke insert on lockstep.rollouts from ${role}`)
      const refused = Array.from({ length: 20 }, (_, n) =>
        lockstep.rollout.set(`operation_${n}`, 'off').catch((error: unknown) => error),
      )
      for (const error of await Promise.all(refused)) {
        expect(error).toMatchObject({
          code: 'LS_DATABASE_RIGHTS',
          details: { grants: [expect.stringMatching(/insert.* on all tables in schema "lockstep"/)] },
        })
      }
      expect(asked).toBe(1)
      await admin.query(`revoke select on lockstep.rollouts from ${role}`)
      await admin.query(`revoke usage on schema lockstep from ${role}`)
      await expect(lockstep.rollout.set('other', 'off')).rejects.toMatchObject({
        details: { grants: [expect.stringContaining('usage') as string, expect.anything()] },
      })
      expect(asked).toBe(2)
    } finally {
      await admin.query(`grant usage on schema lockstep to ${role}`)
      await lockstep.close({ drainMs: 0 })
      await pool.end()
      await proxy.close()
    }
  })
})

describe('a limit of the database', () => {
  let world: World
  beforeAll(async () => {
    world = await createWorld({ bus: false })
  })
  afterAll(() => world.close())

  /** Runs an operation in which this happens; gives back what the caller gets, and the code of the notice. */
  async function run(work: (db: PgDatabase) => Promise<unknown>) {
    const id = newOperationId()
    const running = world.lockstep.transaction({ name: 'limited', user: 'ada', id }, ({ db }) => work(db))
    const error = await running.then(
      () => undefined,
      (thrown: unknown) => thrown,
    )
    const [row] = await world.rows<{
      notice: { errorCode: string; recoveryActions: unknown; errorMessage: string }
    }>('select notice from lockstep.operations where id = $1', [id])
    return { error, notice: row?.notice }
  }

  const gone = async (db: PgDatabase, set: string): Promise<void> => {
    const { rows } = await db.query<{ pid: number }>(`select pg_backend_pid() as pid`)
    await db.query(set)
    const alive = () => world.rows('select from pg_stat_activity where pid = $1', [rows[0]?.pid])
    await expect.poll(alive).toEqual([])
  }
  const idle = `set local idle_in_transaction_session_timeout = '50ms'`

  it.each([
    [
      'before its next statement',
      async (db: PgDatabase) => {
        await gone(db, idle)
        await db.query('select 1')
      },
    ],
    ['before its COMMIT', (db: PgDatabase) => gone(db, idle)],
  ])('idle_in_transaction_session_timeout, %s', async (_, work) => {
    const { error, notice } = await run(work)
    expect(error).toMatchObject({ code: 'LS_TRANSACTION_IDLE', retryable: true })
    expect((error as Error).message).toMatch(
      /idle_in_transaction_session_timeout.*not the database.*Move that work/s,
    )
    expect(notice).toMatchObject({
      errorCode: 'LS_TRANSACTION_IDLE',
      errorMessage: 'The transaction was idle for too long. Send it again.',
      recoveryActions: ['retry'],
    })
  })

  it.each([
    [
      'in a statement',
      (db: PgDatabase) =>
        db.query(`set local transaction_timeout = '50ms'`).then(() => db.query('select pg_sleep(20)')),
    ],
    ['while it is idle', (db: PgDatabase) => gone(db, `set local transaction_timeout = '50ms'`)],
  ])('transaction_timeout, %s', async (_, work) => {
    const { error, notice } = await run(work)
    expect(error).toMatchObject({ code: 'LS_TRANSACTION_TIMEOUT', retryable: true })
    expect((error as Error).message).toMatch(/transaction_timeout.*Do less in one operation/s)
    expect(notice).toMatchObject({
      errorCode: 'LS_TRANSACTION_TIMEOUT',
      errorMessage: 'The transaction took too long. Send it again.',
    })
  })

  it('statement_timeout and lock_timeout', async () => {
    const slow = await run(async (db) => {
      await db.query(`set local statement_timeout = '50ms'`)
      await db.query('select pg_sleep(20)')
    })
    expect(slow).toMatchObject({ error: { code: '57014' }, notice: { errorCode: 'LS_STATEMENT_TIMEOUT' } })
    const holder = await world.direct.connect()
    await holder.query('begin; lock table notes in exclusive mode')
    const locked = await run(async (db) => {
      await db.query(`set local lock_timeout = '50ms'`)
      await db.query('lock table notes in exclusive mode')
    })
    expect(locked).toMatchObject({ error: { code: '55P03' }, notice: { errorCode: 'LS_STATEMENT_TIMEOUT' } })
    await holder.query('rollback')
    holder.release()
  })

  it('idle_session_timeout ends connections between operations, and no operation hears of it', async () => {
    const pid = async (): Promise<number | undefined> => {
      let found: number | undefined
      await world.lockstep.transaction({ name: 'asks', user: 'ada' }, async ({ db }) => {
        const { rows } = await db.query<{ pid: number }>(
          `select pg_backend_pid() as pid, set_config('idle_session_timeout', '100ms', false)`,
        )
        found = rows[0]?.pid
      })
      return found
    }
    const before = await pid()
    await expect.poll(() => world.rows('select from pg_stat_activity where pid = $1', [before])).toEqual([])
    expect(await pid()).not.toBe(before)
  })
})

it('a text for a channel, and work that is no function, roll back with words for the developer', async () => {
  const world = await createWorld({ bus: false })
  const call = async (
    work: (
      tx: { emit: (...given: unknown[]) => void } & Record<string, (work: unknown) => unknown>,
    ) => unknown,
  ) => {
    const running = world.lockstep.transaction({ name: 'mistaken', user: 'ada' }, async (tx) =>
      work(tx as never),
    )
    return running.catch((error: unknown) => error)
  }
  expect(await call((tx) => tx.emit('room:42', 'counted', { n: 1 }))).toMatchObject({
    code: 'LS_CHANNEL_INVALID',
    message: 'tx.emit needs a channel, and got the text "room:42". Write room({ id: "42" }).',
  })
  expect(await call((tx) => tx.emit(room, 'counted', { n: 1 }))).toMatchObject({
    code: 'LS_CHANNEL_INVALID',
    message: 'tx.emit needs a channel, and got the family "room:{id}". Write room({ id: … }).',
  })
  expect(await call((tx) => tx.emit(room({ id: '1' }), 'count', {}))).toMatchObject({
    code: 'LS_EVENT_UNKNOWN',
    message: expect.stringContaining('It declares: "note.added", "counted".') as unknown,
  })
  for (const name of ['afterCommit', 'afterRollback', 'transaction']) {
    expect(await call((tx) => tx[name]?.('x'))).toMatchObject({
      code: 'LS_CONFIG_INVALID',
      message: expect.stringContaining(`tx.${name} takes a function, and got the text "x".`) as unknown,
    })
  }
  await world.close()
})

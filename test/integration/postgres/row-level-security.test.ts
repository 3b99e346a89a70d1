// Operations and queries whose code goes on as another role, as under row level security, and `onBegin`.
import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { join } from 'node:path'
import { promisify } from 'node:util'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import {
  createLockstep,
  fromPool,
  LockstepError,
  newOperationId,
  type Lockstep,
  type LockstepOptions,
  type PgDatabase,
  type Transaction,
} from '../../../src/index.ts'
import { createTestDatabase, type TestDatabase } from '../../support/database.ts'
import { centrifuge, connected, listen, serve } from '../../support/sockets.ts'
import { createTestLogger, declareRoom, room, secret } from '../../support/world.ts'

const root = fileURLToPath(new URL('../../..', import.meta.url))
const suffix = `${process.pid}_${Date.now().toString(36)}`
const [login, owner, tenant] = [`rls_login_${suffix}`, `rls_owner_${suffix}`, `rls_tenant_${suffix}`]
let test: TestDatabase
let admin: pg.Client

beforeAll(async () => {
  test = await createTestDatabase()
  admin = new pg.Client({ connectionString: test.url })
  admin.on('error', () => {})
  await admin.connect()
  await admin.query(`
    create role ${owner} nologin;
    create role ${tenant} nologin;
    create role ${login} login noinherit password '${login}' in role ${owner}, ${tenant};
    grant usage, create on schema public to ${owner};
    grant usage on schema public to ${tenant};
    create table notes (id text primary key, tenant text not null default current_setting('app.tenant'), by text default current_user);
    create table parents (id text primary key);
    create table checked (id text, by text);
    alter table notes enable row level security;
    create policy own on notes to ${tenant} using (tenant = current_setting('app.tenant'));
    grant all on notes to ${tenant};
    grant insert on checked to ${tenant};
    create function check_later() returns trigger language plpgsql as
      $$ begin insert into checked values (new.id, current_user); return null; end $$;
    create constraint trigger later after insert on notes deferrable initially deferred
      for each row execute function check_later();
    create function become(name text) returns void language plpgsql as
      $$ begin perform set_config('role', name, true); end $$;
    grant usage, create on schema lockstep to ${owner};
    grant all on all tables in schema lockstep to ${owner};
  `)
})
afterAll(async () => {
  await admin.query(`drop owned by ${owner}, ${tenant}, ${login}`)
  await admin.query(`drop role ${login}, ${owner}, ${tenant}`)
  await admin.end()
  await test.drop()
})

interface NodeOptions extends Partial<LockstepOptions<PgDatabase>> {
  /** Role that the pool connects as. Default: the superuser of the test's server. */
  readonly user?: string
  readonly onConnect?: (client: pg.PoolClient) => void
  /** Declares what has to be declared before the node starts, beside `room:{id}`. */
  readonly declare?: (lockstep: Lockstep<PgDatabase>) => void
}

async function withNode<T>(
  { user, onConnect, declare, ...options }: NodeOptions,
  use: (node: {
    readonly lockstep: ReturnType<typeof createLockstep<PgDatabase>>
    readonly logger: ReturnType<typeof createTestLogger>
  }) => Promise<T>,
): Promise<T> {
  const url = new URL(test.url)
  if (user !== undefined) [url.username, url.password] = [user, user]
  const pool = new pg.Pool({ connectionString: url.href, max: 2 })
  pool.on('error', () => {})
  // Dropping the database may end a connection that is still on its way out.
  pool.on('connect', (client) => client.on('error', () => {}))
  if (onConnect !== undefined) pool.on('connect', onConnect)
  const logger = createTestLogger()
  const lockstep = createLockstep<PgDatabase>({
    database: fromPool(pool),
    auth: { secret },
    logger,
    bus: false,
    ...options,
  })
  declareRoom(lockstep)
  declare?.(lockstep)
  try {
    return await use({ lockstep, logger })
  } finally {
    await lockstep.close({ drainMs: 200 })
    await pool.end()
  }
}

const asTenant = [`select set_config('app.tenant', 'acme', true)`, `set local role ${tenant}`]
const ways: Readonly<Record<string, readonly string[]>> = {
  'set local role': asTenant,
  'set role for the session': [`select set_config('app.tenant', 'acme', true)`, `set role ${tenant}`],
  'set_config in a statement': [
    `select set_config('app.tenant', 'acme', true), set_config('role', '${tenant}', true)`,
  ],
  'a function that sets it': [`select set_config('app.tenant', 'acme', true)`, `select become('${tenant}')`],
  'set local session authorization': [
    `select set_config('app.tenant', 'acme', true)`,
    `set local session authorization ${tenant}`,
  ],
}

const eventsOf = async (id: string): Promise<number> => {
  const { rows } = await admin.query(
    'select count(*)::int as n from lockstep.events where operation_id = $1',
    [id],
  )
  return (rows[0] as { n: number }).n
}

describe.each(Object.entries(ways))(
  'an operation that goes on as another role, by %s,',
  (way, statements) => {
    it.each([1, 2])('commits with its outcome and events: %s', async (events) => {
      await withNode({}, async ({ lockstep, logger }) => {
        const id = newOperationId()
        const note = `${way} ${events}`
        const work = async (tx: Transaction<PgDatabase>): Promise<string> => {
          for (const statement of statements) await tx.db.query(statement)
          await tx.db.query('insert into notes (id) values ($1)', [note])
          for (let n = 0; n < events; n++) tx.emit(room({ id: String(n) }), 'counted', { n })
          const { rows } = await tx.db.query<{ name: string }>('select current_user as name')
          return rows[0]?.name ?? ''
        }
        expect(await lockstep.transaction({ name: 'note', user: 'ada', id }, work)).toBe(tenant)
        expect(await eventsOf(id)).toBe(events)
        const { rows } = await admin.query('select tenant, by from notes where id = $1', [note])
        expect(rows).toEqual([{ tenant: 'acme', by: tenant }])
        // The deferred trigger ran as the role, and not as the one that the flush needs.
        const checked = await admin.query('select by from checked where id = $1', [note])
        expect(checked.rows).toEqual([{ by: tenant }])
        expect(logger.lines.filter(({ level }) => level === 'error')).toEqual([])
      })
    })
  },
)

it.each([
  ['as the role of the pool', []],
  ['as another role', asTenant],
])(
  'a deferred trigger that has no right at COMMIT, %s, is no role in the way: nothing runs again',
  async (as, statements) => {
    await admin.query(`
    create table refused (id text);
    grant insert on refused to ${tenant};
    create function refuse_later() returns trigger language plpgsql as
      $$ begin raise exception 'not yours' using errcode = 'insufficient_privilege'; end $$;
    create constraint trigger later after insert on refused deferrable initially deferred
      for each row execute function refuse_later();
  `)
    try {
      await withNode({}, async ({ lockstep }) => {
        let attempts = 0
        const running = lockstep.transaction({ name: 'refused', user: 'ada' }, async (tx) => {
          attempts += 1
          for (const statement of statements) await tx.db.query(statement)
          await tx.db.query('insert into refused values ($1)', [as])
          tx.emit(room({ id: 'refused' }), 'counted', { n: 1 })
        })
        await expect(running).rejects.toMatchObject({ code: '42501' })
        expect(attempts).toBe(1)
      })
    } finally {
      await admin.query('drop table refused; drop function refuse_later()')
    }
  },
)

it('the role itself can neither write nor read what Lockstep keeps', async () => {
  await admin.query(`set role ${tenant}`)
  try {
    for (const text of [
      `insert into lockstep.channels values ('room:1', 99)`,
      'select * from lockstep.events',
      `select lockstep.flush_event(null, '', '', null, '', null, 'room:1', 'x', '{}')`,
    ]) {
      await expect(admin.query(text)).rejects.toMatchObject({ code: '42501' })
    }
  } finally {
    await admin.query('reset role')
  }
})

it('the flush has the rights of the role that the connection began with, and not those of its login', async () => {
  await admin.query(`grant create on database "${test.name}" to ${owner}`)
  await admin.query(`alter schema lockstep owner to ${owner}`)
  const tables = await admin.query<{ text: string }>(
    `select format('alter table lockstep.%I owner to ${owner}', tablename) as text from pg_tables where schemaname = 'lockstep'
     union all
     select format('alter function %s owner to ${owner}', p.oid::regprocedure) from pg_proc p
     join pg_namespace n on n.oid = p.pronamespace where n.nspname = 'lockstep'`,
  )
  for (const { text } of tables.rows) await admin.query(text)
  await admin.query(`alter role ${login} set role = ${owner}`)
  await withNode({ user: login }, async ({ lockstep }) => {
    const id = newOperationId()
    await lockstep.transaction({ name: 'note', user: 'ada', id }, async (tx) => {
      for (const statement of asTenant) await tx.db.query(statement)
      await tx.db.query(`insert into notes (id) values ('of the login')`)
      tx.emit(room({ id: '1' }), 'counted', { n: 1 })
    })
    expect(await eventsOf(id)).toBe(1)
  })
})

it('a query that goes on as another role reads its position, and is that role still', async () => {
  await withNode({}, async ({ lockstep }) => {
    for (const become of [`set local role ${tenant}`, `select become('${tenant}')`]) {
      const read = lockstep.query(`read_${become.length}`, {
        input: z.object({}),
        async run({ db, position }) {
          await db.query(become)
          const { offset, epoch } = await position(room({ id: 'position' }))
          const { rows } = await db.query<{ name: string }>('select current_user as name')
          return { offset, epoch, name: rows[0]?.name }
        },
      })
      await lockstep.start()
      expect(await read.execute({}, { id: 'ada' }, AbortSignal.timeout(10_000))).toEqual({
        offset: 0,
        epoch: expect.stringMatching(/./) as string,
        name: tenant,
      })
    }
  })
})

describe('onBegin', () => {
  const seen: string[] = []
  const onBegin: LockstepOptions<PgDatabase>['onBegin'] = async ({ db, user }) => {
    await db.query(`select set_config('app.tenant', $1, true), set_config('role', $2, true)`, [
      user.tenant ?? '',
      tenant,
    ])
    seen.push(user.id)
  }
  const ada = { id: 'ada', tenant: 'globex' }
  const tenantOf = async (db: PgDatabase): Promise<string> => {
    const { rows } = await db.query<{ name: string }>(`select current_setting('app.tenant') as name`)
    return rows[0]?.name ?? ''
  }

  it('runs first in operations, queries and checks, with their user', async () => {
    const checked: string[] = []
    await withNode(
      {
        onBegin,
        declare: (lockstep) =>
          void lockstep.channel('shelf:{id}', {
            async canSubscribe({ db }) {
              checked.push(await tenantOf(db))
              return true
            },
          }),
        auth: async ({ token = '' }) => ({ user: { id: token, tenant: 'of-a-token' } }),
      },
      async ({ lockstep }) => {
        const authorize = async ({ db }: { db: PgDatabase }): Promise<boolean> => {
          checked.push(await tenantOf(db))
          return true
        }
        const input = z.object({})
        const write = lockstep.operation('write', { input, authorize, run: ({ tx }) => tenantOf(tx.db) })
        const read = lockstep.query('read', { input, authorize, run: ({ db }) => tenantOf(db) })
        await lockstep.start()
        seen.length = 0
        expect(await write.call({}, { user: ada })).toMatchObject({
          outcome: 'committed',
          result: 'globex',
        })
        expect(await read.execute({}, ada, AbortSignal.timeout(10_000))).toBe('globex')
        const told = await lockstep.transaction({ name: 'tell', user: ada }, (tx) => tenantOf(tx.db))
        expect(told).toBe('globex')
        expect(checked).toEqual(['globex', 'globex'])
        const served = await serve({ lockstep })
        const bob = centrifuge(served.url, 'bob')
        await connected(bob)
        await listen(bob, 'shelf:1')
        expect(checked.at(-1)).toBe('of-a-token')
        bob.disconnect()
        await served.close()
        // Hooks run for a check and its operation, a check and its query, the transaction, and the check of the
        // channel.
        expect(seen.slice(0, 5)).toEqual(['ada', 'ada', 'ada', 'ada', 'ada'])
        expect(seen).toHaveLength(6)
      },
    )
  })

  it('that throws rolls the operation back as any failure, and its user is notified', async () => {
    const failing = async (): Promise<void> => {
      throw new LockstepError('LS_FORBIDDEN')
    }
    await withNode({ onBegin: failing }, async ({ lockstep }) => {
      const work = lockstep.operation('work', {
        input: z.object({}),
        rollback: { userMessage: 'Not now.' },
        run: async () => 'never',
      })
      expect(await work.call({}, { user: 'eve' })).toMatchObject({
        outcome: 'rolled_back',
        notice: { userMessage: 'Not now.' },
      })
      const { rows } = await admin.query(`select type from lockstep.events where channel = 'user:eve'`)
      expect(rows).toEqual([{ type: 'transaction_rolled_back' }])
    })
  })

  it('runs again with each attempt, and not for what Lockstep does itself', async () => {
    await withNode({ onBegin }, async ({ lockstep }) => {
      await lockstep.start()
      seen.length = 0
      let attempts = 0
      await lockstep.transaction({ name: 'twice', user: ada }, async (tx) => {
        attempts += 1
        const { rows } = await tx.db.query<{ name: string }>('select current_user as name')
        expect(rows[0]?.name).toBe(tenant)
        if (attempts === 1) throw new LockstepError('LS_SERIALIZATION_FAILURE')
      })
      await lockstep.revoke({ user: 'bob' })
      expect(attempts).toBe(2)
      expect(seen).toEqual(['ada', 'ada'])
    })
  })
})

it('the program of the guide prints what it says', async () => {
  const guide = await readFile(join(root, 'docs/guides/row-level-security.md'), 'utf8')
  const blocks = [...guide.matchAll(/^```(\w*)[^\n]*\n(.*?)^```$/gms)]
  const textOf = (language: string): string =>
    blocks.flatMap(([, found, text]) => (found === language ? [text ?? ''] : [])).join('')
  const directory = await mkdtemp(join(root, 'test/integration/.guide-'))
  const database = await createTestDatabase()
  const client = new pg.Client({ connectionString: database.url })
  client.on('error', () => {})
  await client.connect()
  try {
    await client.query('drop role if exists app_tenant')
    await client.query(textOf('sql'))
    const file = join(directory, 'server.ts')
    await writeFile(file, textOf('ts'))
    const { stdout } = await promisify(execFile)(
      process.execPath,
      ['--import', 'tsx', '--conditions', 'lockstep-source', file],
      { cwd: root, env: { ...process.env, DATABASE_URL: database.url } },
    )
    const lines = stdout.split('\n').filter((line) => !line.startsWith('{'))
    expect(lines.join('\n')).toBe(textOf(''))
  } finally {
    await rm(directory, { recursive: true })
    await client.query('drop owned by app_tenant')
    await client.query('drop role app_tenant')
    await client.end()
    await database.drop()
  }
})

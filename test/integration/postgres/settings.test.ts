// Settings that a user, a role, a database or a pool can make change nothing of Lockstep's own reads and writes.
import pg from 'pg'
import { afterEach, describe, expect, it } from 'vitest'
import { newOperationId } from '../../../src/index.ts'
import { walkThrough } from '../../conformance/settings-conformance.ts'
import { createSettingsWorld } from '../../support/settings-world.ts'
import { centrifuge, connected, listen } from '../../support/sockets.ts'
import { shadowing } from '../../support/shadowing.ts'

/** Settings of a database; each operation sets them again for itself, where that is allowed in a transaction. */
const settings: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  'DateStyle German': { datestyle: `'German, DMY'` },
  'DateStyle SQL': { datestyle: `'SQL, MDY'` },
  'a TimeZone of its own': { timezone: `'<+05>-05:45'` },
  'IntervalStyle and bytea_output': { intervalstyle: 'sql_standard', bytea_output: 'escape' },
  'extra_float_digits of -15': { extra_float_digits: '-15' },
  'old strings': { standard_conforming_strings: 'off', backslash_quote: 'on', escape_string_warning: 'off' },
  'old nulls': { array_nulls: 'off', transform_null_equals: 'on' },
  'row_security off': { row_security: 'off' },
  'lock_timeout and statement_timeout': { lock_timeout: '2000', statement_timeout: '2000' },
  'synchronous_commit off': { synchronous_commit: 'off' },
}

/** Settings that only a session, or a transaction's beginning, can have. */
const sessions: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  'transactions serializable by default': { default_transaction_isolation: 'serializable' },
  'transactions deferrable by default': {
    default_transaction_isolation: 'serializable',
    default_transaction_deferrable: 'on',
  },
  'session_replication_role replica': { session_replication_role: 'replica' },
  'idle sessions ended soon': { idle_session_timeout: '300' },
}

describe.concurrent('the whole path is the same under', { timeout: 60_000 }, () => {
  it.each(Object.entries(settings))('%s', async (_, database) => {
    const operation = Object.entries(database).map(([name, value]) => `set local ${name} = ${value}`)
    await expect(walkThrough({ database, operation })).resolves.toBeUndefined()
  })

  it.each(Object.entries(sessions))('%s', async (_, database) => {
    await expect(walkThrough({ database })).resolves.toBeUndefined()
  })

  it('a schema of the application that shadows functions, operators and types of Postgres', async () => {
    await expect(
      walkThrough({
        before: shadowing,
        database: { search_path: 'app, pg_catalog, public' },
        operation: ['set local search_path = app, pg_catalog, public'],
      }),
    ).resolves.toBeUndefined()
  })

  it('temporary tables that shadow types and tables', async () => {
    const names = ['text', 'uuid', 'json', 'jsonb', 'timestamptz', 'channels', 'events', 'operations', 'meta']
    await expect(
      walkThrough({
        operation: names.map((name) => `create temporary table "${name}" (x int) on commit drop`),
      }),
    ).resolves.toBeUndefined()
  })

  it('an operation that sets the encoding of its connection', async () => {
    await expect(
      walkThrough({ operation: [`set local client_encoding = 'LATIN1'`] }),
    ).resolves.toBeUndefined()
  })
})

it('a database that is read-only by now still serves what it holds', async () => {
  const world = await createSettingsWorld()
  const node = await world.startNode()
  const ada = centrifuge(node.served.url, 'ada')
  const bob = centrifuge(node.served.url, 'bob')
  try {
    await Promise.all([connected(ada), connected(bob)])
    const { inbox, subscription } = await listen(ada, 'room:1')
    const ids = [newOperationId(), newOperationId()]
    const post = async (n: number) =>
      bob.rpc('add_note', { id: ids[n], input: { id: `n${n}`, text: 'hello' } })
    await post(0)
    await inbox.until((items) => items.length === 1)
    ada.disconnect()
    await post(1)
    const name = new URL(world.url).pathname.slice(1)
    await world.admin.query(`alter database "${name}" set default_transaction_read_only = on`)
    await world.admin.query(
      `select pg_terminate_backend(pid, 5000) from pg_stat_activity
       where datname = current_database() and pid <> pg_backend_pid()`,
    )
    const back = new Promise<boolean>((resolve) =>
      subscription.once('subscribed', ({ recovered }) => resolve(recovered)),
    )
    ada.connect()
    expect(await back).toBe(true)
    await inbox.until((items) => items.length === 2)
    expect((await ada.rpc('notes', {})).data).toMatchObject({ count: 2, at: { offset: 2 } })
    const { data } = await bob.rpc('lockstep.outcomes', { ids })
    expect(data).toMatchObject({ outcomes: [{ outcome: 'committed' }, { outcome: 'committed' }] })
  } finally {
    ada.disconnect()
    bob.disconnect()
    await world.close()
  }
})

describe('the whole path is the same with', () => {
  const garbage = (): string => 'parsed by somebody else'
  const oids = [16, 20, 21, 23, 25, 114, 700, 701, 1114, 1184, 1700, 2950, 3802, 1009, 2951, 199, 3807]
  const restored: (() => void)[] = []
  afterEach(() => {
    for (const restore of restored.splice(0)) restore()
  })

  it('type parsers for every connection of the process', async () => {
    for (const oid of oids) {
      for (const format of ['text', 'binary'] as const) {
        const parser = pg.types.getTypeParser(oid, format) as (value: string) => unknown
        restored.push(() => pg.types.setTypeParser(oid, format as never, parser))
        pg.types.setTypeParser(oid, format as never, garbage)
      }
    }
    await expect(walkThrough({})).resolves.toBeUndefined()
  })

  it('type parsers of the pool', async () => {
    await expect(walkThrough({ pool: { types: { getTypeParser: () => garbage } } })).resolves.toBeUndefined()
  })

  it('type parsers of a connection', async () => {
    await expect(
      walkThrough({
        onConnect: (client) => {
          for (const oid of oids) client.setTypeParser(oid, garbage)
        },
      }),
    ).resolves.toBeUndefined()
  })

  it('the binary format', async () => {
    await expect(walkThrough({ pool: { binary: true } as never })).resolves.toBeUndefined()
  })

  it('options of the pool', async () => {
    await expect(
      walkThrough({
        before: shadowing,
        pool: {
          options: '-c datestyle=German -c search_path=app,pg_catalog,public -c array_nulls=off',
          statement_timeout: 5_000,
          query_timeout: 5_000,
        },
      }),
    ).resolves.toBeUndefined()
  })
})

import type { ClientBase, ClientConfig, Pool, QueryResult } from 'pg'
import { ownTypes } from './own-types.ts'

/**
 * Settings under which Lockstep's own statements run, whatever a role or a database sets by default. None of these
 * statements reads what the other settings change: they select no times, floats or binary data (`msOf`).
 */
const sessionSettings = {
  search_path: 'pg_catalog, pg_temp',
  array_nulls: 'on',
  transform_null_equals: 'off',
  default_transaction_isolation: 'read committed',
  statement_timeout: '0',
  lock_timeout: '0',
  transaction_timeout: '0',
  idle_in_transaction_session_timeout: '0',
  idle_session_timeout: '0',
} as const

/** The same for one transaction on a connection that is not Lockstep's alone. */
export const localSettings: readonly string[] = [
  'set local search_path = pg_catalog, pg_temp',
  'set local array_nulls = on',
  'set local transform_null_equals = off',
  'set local statement_timeout = 0',
  'set local lock_timeout = 0',
]

/**
 * Begins a transaction that does not fail for what others did, whatever the default says. A default of read-only stands:
 * operators stop all writes to a former primary, or to a full disk, by it.
 */
export const beginOwn = 'begin isolation level read committed'

/** How own connections reach the server: as the pool's do, without what the application has added for itself. */
export function ownConfig(pool: Pool): ClientConfig {
  return {
    ...pool.options,
    // pg makes the password non-enumerable, so the spread leaves it behind.
    password: pool.options.password,
    types: ownTypes,
    query_timeout: 0,
    ...({ binary: false, onConnect: undefined, verify: undefined } as object),
  }
}

/** Facts from the first answer of a connection. */
export interface ConnectionFacts {
  /**
   * A pooler gives each transaction another of its server's connections: nothing may be set for a session there, since
   * it would be another client's next.
   */
  readonly isPooled: boolean
  /** The database keeps its text in UTF-8, so that it takes every character. */
  readonly isUtf8: boolean
}

/**
 * Sets a new own connection up, in one round trip: settings of the session where it is one, and none behind a pooler in
 * transaction mode, which shows by the number of the process that answers. A setting that this version of Postgres does
 * not know is left out.
 */
export async function setUp(client: ClientBase, timeoutMs: number): Promise<ConnectionFacts> {
  // `pg` reads it from the client, too; and a default of its own may have turned it on.
  Object.assign(client, { binary: false })
  const { processID } = client as unknown as { readonly processID: number | null }
  const query = {
    text: setUpStatement,
    values: [processID ?? 0],
    types: ownTypes as never,
    query_timeout: timeoutMs,
  }
  const { rows }: QueryResult<{ applied: number; encoding: string }> = await client.query(query)
  const [row] = rows
  return { isPooled: row?.applied === 0, isUtf8: row?.encoding === 'UTF8' }
}

const setUpStatement = `
  select pg_catalog.current_setting('server_encoding') as encoding, (
    select pg_catalog.count(pg_catalog.set_config(s.name, s.value, false))
    from (values ${Object.entries(sessionSettings)
      .map(([name, value]) => `('${name}', '${value}')`)
      .join(', ')}) as s (name, value)
    where pg_catalog.pg_backend_pid() operator(pg_catalog.=) $1::int
      and pg_catalog.current_setting(s.name, true) is not null
  ) as applied`

// Administrative statements over a short-lived connection of their own.
import pg from 'pg'

/** Runs `use` with a connected client that is closed afterwards. */
export async function withClient<T>(url: string, use: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 2_000 })
  // A server that goes away also fails the statement in flight; the event alone would end the process.
  client.on('error', () => {})
  await client.connect()
  try {
    return await use(client)
  } finally {
    await client.end().catch(() => {})
  }
}

export async function createDatabase(
  url: string,
  name: string,
  options: { readonly template?: string } = {},
): Promise<void> {
  const template = options.template === undefined ? '' : ` template ${pg.escapeIdentifier(options.template)}`
  await withClient(url, (client) => client.query(`create database ${pg.escapeIdentifier(name)}${template}`))
}

/** Drops a database, ending the connections to it; one that does not exist is not an error. */
export async function dropDatabase(url: string, name: string): Promise<void> {
  await withClient(url, async (client) => {
    await client.query(untilUnused(name))
    await client.query(`drop database if exists ${pg.escapeIdentifier(name)} with (force)`)
  })
}

/**
 * Waits half a second at most for connections that were closed a moment ago and are on their way out: the force would
 * reach them with an error, for which their owners listen no more.
 */
function untilUnused(name: string): string {
  return `do $$ begin
    for n in 1..50 loop
      exit when not exists (select from pg_stat_activity where datname = ${pg.escapeLiteral(name)});
      perform pg_sleep(0.01);
      perform pg_stat_clear_snapshot();
    end loop;
  end $$`
}

/** The same server, another database. */
export function databaseUrl(url: string, name: string): string {
  const changed = new URL(url)
  changed.pathname = `/${encodeURIComponent(name)}`
  return changed.href
}

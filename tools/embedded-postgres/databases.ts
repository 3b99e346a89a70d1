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
  await withClient(url, (client) =>
    client.query(`drop database if exists ${pg.escapeIdentifier(name)} with (force)`),
  )
}

/** The same server, another database. */
export function databaseUrl(url: string, name: string): string {
  const changed = new URL(url)
  changed.pathname = `/${encodeURIComponent(name)}`
  return changed.href
}

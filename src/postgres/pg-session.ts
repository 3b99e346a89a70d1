import pg from 'pg'
import type { Pool } from 'pg'
import { disregard, type DatabaseSession, type Statement } from '../core/index.ts'
import { toAsciiValues } from './ascii.ts'
import { ownConfig, setUp, type ConnectionFacts } from './own-connection.ts'
import { toRows } from './pg-statements.ts'
import { toLockstepError } from './sqlstate.ts'

/**
 * Opens one connection to the pool's database, beside the pool.
 * @throws LS_DATABASE_UNREACHABLE
 */
export async function openPgSession(pool: Pool, connectionTimeoutMillis: number): Promise<DatabaseSession> {
  const client = new pg.Client({
    ...ownConfig(pool),
    // Statements are sent as they come, without waiting for each other's answers.
    pipeline: true,
    connectionTimeoutMillis,
    keepAlive: true,
    application_name: 'lockstep bus',
  })
  let end: (reason: string) => void = () => {}
  const ended = new Promise<string>((resolve) => (end = resolve))
  client.on('error', (error) => end(error.message))
  client.on('end', () => end('the connection was closed'))
  let facts: ConnectionFacts
  try {
    await client.connect()
    facts = await setUp(client, connectionTimeoutMillis)
  } catch (error) {
    destroy(client)
    throw toLockstepError(error, 'LS_DATABASE_UNREACHABLE')
  }
  return {
    ended,
    async query<Row>({ name, text, values = [] }: Statement) {
      // A session of its own is a backend of its own, so what it has prepared is there.
      const prepared = name === undefined ? {} : { name }
      try {
        return toRows<Row>(
          await client.query({
            ...prepared,
            text,
            values: facts.isUtf8 ? [...values] : toAsciiValues(values),
          }),
        )
      } catch (error) {
        throw toLockstepError(error, 'LS_CONNECTION_LOST')
      }
    },
    onNotification(hear) {
      client.on('notification', ({ channel, payload }) => hear(channel, payload ?? ''))
    },
    destroy() {
      destroy(client)
      end('the connection was closed')
    },
  }
}

/** Ends the session without waiting for a server that may have vanished. */
function destroy(client: pg.Client): void {
  disregard(client.end())
  const { connection } = client as unknown as {
    readonly connection: { readonly stream: { destroy(): void } }
  }
  connection.stream.destroy()
}

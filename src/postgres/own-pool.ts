import pg from 'pg'
import type { ClientBase, Pool, PoolClient, PoolConfig } from 'pg'
import type { Queryable, Rows, Statement } from '../core/index.ts'
import { beginOwn, localSettings, ownConfig, setUp, type ConnectionFacts } from './own-connection.ts'
import { sendFlight } from './pg-flight.ts'
import { send, toConfig, toRows, type SendOptions } from './pg-statements.ts'
import { toLockstepError } from './sqlstate.ts'

export interface OwnPoolOptions extends SendOptions {
  /** What these connections have of their own. */
  readonly config: PoolConfig
}

/**
 * Lockstep's own connections to the database of an application's pool: they write intents and notices while that pool is
 * exhausted. Whatever settings a role, a database or the pool has, statements run here under the same ones.
 */
export class OwnPool implements Queryable {
  readonly connections: Pool
  readonly #sending: SendOptions
  #facts: ConnectionFacts | undefined

  constructor(pool: Pool, { config, ...sending }: OwnPoolOptions) {
    this.#sending = sending
    this.connections = new pg.Pool({
      ...ownConfig(pool),
      min: 0,
      pipeline: true,
      application_name: 'lockstep',
      ...config,
      // Awaited before the connection is lent, although the types of `pg` know no promise here.
      // oxlint-disable-next-line typescript/no-misused-promises
      onConnect: async (client: ClientBase) => {
        this.#facts = await setUp(client, sending.limit.ms)
      },
    })
  }

  async query<Row>(statement: Statement): Promise<Rows<Row>> {
    const facts = this.#facts ?? (await this.#connect())
    const sending = facts.isUtf8 ? this.#sending : { ...this.#sending, isAscii: true }
    return facts.isPooled
      ? this.#sendPooled<Row>(statement, sending)
      : send<Row>(this.connections, statement, sending)
  }

  async close(): Promise<void> {
    await this.connections.end()
  }

  /** The first connection, whose facts are not known before. */
  async #connect(): Promise<ConnectionFacts> {
    try {
      const client = await this.connections.connect()
      client.release()
    } catch (error) {
      throw toLockstepError(error, 'LS_CONNECTION_LOST')
    }
    return this.#facts ?? { isPooled: false, isUtf8: true }
  }

  /** In a transaction with its own settings, in one flight: a pooler may have another client's connection behind it. */
  async #sendPooled<Row>(statement: Statement, sending: SendOptions): Promise<Rows<Row>> {
    let client: PoolClient | undefined
    try {
      client = await this.connections.connect()
      const [result] = await sendFlight(client, {
        before: [beginOwn, ...localSettings],
        statement: toConfig(statement, sending),
        after: ['commit'],
        limit: sending.limit,
      })
      client.release()
      return toRows<Row>(result)
    } catch (error) {
      // The transaction may still be open.
      client?.release(true)
      sending.state.note(error)
      if (sending.names.wasLost(error)) return this.#sendPooled<Row>(statement, sending)
      throw toLockstepError(error, 'LS_CONNECTION_LOST')
    }
  }
}

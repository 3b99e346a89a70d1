import pg from 'pg'
import type { ClientBase, Pool, PoolClient, PoolConfig } from 'pg'
import {
  isLockstepError,
  type HistoryGate,
  type Queryable,
  type Rows,
  type Statement,
} from '../core/index.ts'
import { GuardedPool } from './guarded-pool.ts'
import { beginOwn, localSettings, ownConfig, setUp, type ConnectionFacts } from './own-connection.ts'
import { sendFlight } from './pg-flight.ts'
import { send, toConfig, toRows, tryRollback, type SendOptions } from './pg-statements.ts'
import { toLockstepError } from './sqlstate.ts'

export interface OwnPoolOptions extends SendOptions {
  /** What these connections have of their own. */
  readonly config: PoolConfig
}

/** A pool may hold so many connections to a server that has become read-only. */
const mostReadOnly = 4

/**
 * Lockstep's own connections to the database of an application's pool: they write intents and notices while that pool is
 * exhausted. Whatever settings a role, a database or the pool has, statements run here under the same ones.
 */
export class OwnPool implements Queryable {
  readonly connections: Pool
  readonly #sending: SendOptions
  readonly #lender: GuardedPool
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
    this.#lender = new GuardedPool({
      pool: this.connections,
      connect: () => this.#connect(),
      over: (client) => ({ query: (statement) => this.#send(client, statement) }),
    })
  }

  guard(gate: HistoryGate): void {
    this.#lender.guard(gate)
  }

  async query<Row>(statement: Statement): Promise<Rows<Row>> {
    for (let attempt = 1; ; attempt++) {
      const client = await this.#lender.lend()
      try {
        const rows = await this.#send<Row>(client, statement)
        client.release()
        return rows
      } catch (error) {
        // After an error it is not used again, as in `pool.query`.
        client.release(true)
        const isReadOnly = isLockstepError(error) && error.details['sqlState'] === '25006'
        if (!isReadOnly || attempt >= mostReadOnly) throw error
      }
    }
  }

  async close(): Promise<void> {
    await this.connections.end()
  }

  /** @throws errors of the catalogue */
  async #connect(): Promise<PoolClient> {
    try {
      return await this.connections.connect()
    } catch (error) {
      this.#sending.state.note(error)
      throw toLockstepError(error, 'LS_CONNECTION_LOST')
    }
  }

  #send<Row>(client: PoolClient, statement: Statement): Promise<Rows<Row>> {
    const { isPooled, isUtf8 } = this.#facts ?? { isPooled: false, isUtf8: true }
    const sending = isUtf8 ? this.#sending : { ...this.#sending, isAscii: true }
    return isPooled ? sendPooled<Row>(client, statement, sending) : send<Row>(client, statement, sending)
  }
}

/** In a transaction with its own settings, in one flight: a pooler may have another client's connection behind it. */
async function sendPooled<Row>(
  client: PoolClient,
  statement: Statement,
  sending: SendOptions,
): Promise<Rows<Row>> {
  try {
    const [result] = await sendFlight(client, {
      before: [beginOwn, ...localSettings],
      statement: toConfig(statement, sending),
      after: ['commit'],
      limit: sending.limit,
    })
    return toRows<Row>(result)
  } catch (error) {
    sending.state.note(error)
    if (!sending.names.wasLost(error)) throw toLockstepError(error, 'LS_CONNECTION_LOST')
    // The transaction is still open. Where it cannot be ended, the next statement says so.
    await tryRollback(client, sending)
    return sendPooled<Row>(client, statement, sending)
  }
}

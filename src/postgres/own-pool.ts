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
import { askRights, explainRights, type RightsRow } from './missing-rights.ts'
import { sendFlight } from './pg-flight.ts'
import { send, toConfig, toRows, tryRollback, type SendOptions } from './pg-statements.ts'
import { toLockstepError, toOwnError } from './sqlstate.ts'

export interface OwnPoolOptions extends SendOptions {
  /** Configuration that only these connections have. */
  readonly config: PoolConfig
}

/** How long rights that were asked for explain further refusals, in milliseconds. */
const rightsMs = 5_000

/** A pool may hold so many connections to a server that has become read-only. */
const mostReadOnly = 4

/**
 * Lockstep's own connections to the database of an application's pool: they write intents and notices while that pool is
 * exhausted. Whatever settings a role, a database or the pool has, statements run here under the same ones.
 */
export class OwnPool implements Queryable {
  readonly connections: Pool
  readonly #sending: SendOptions
  readonly #schemaName: string
  readonly #lender: GuardedPool
  #facts: ConnectionFacts | undefined
  #rights:
    { readonly words: string; readonly at: number; readonly row: Promise<RightsRow | undefined> } | undefined

  constructor(pool: Pool, { config, ...sending }: OwnPoolOptions) {
    this.#sending = sending
    this.#schemaName = sending.schemaName
    this.connections = new pg.Pool({
      ...ownConfig(pool),
      min: 0,
      pipeline: true,
      application_name: 'lockstep',
      ...config,
      // The pool awaits this before it lends the connection, although the types of `pg` know no promise here.
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
        // Discard the connection after an error, as `pool.query` does, unless the error certainly left nothing behind.
        client.release(this.#facts?.isPooled === true || !leavesNothing(error))
        const isReadOnly = isLockstepError(error) && error.details['sqlState'] === '25006'
        if (!isReadOnly || attempt >= mostReadOnly) throw await this.explained(error)
      }
    }
  }

  /** An error for want of rights, with those that are missing and how to grant them; any other error as it is. */
  async explained(error: unknown, { isMigrating = false } = {}): Promise<unknown> {
    if (!isLockstepError(error, 'LS_DATABASE_RIGHTS')) return error
    const row = await this.#rightsAt(error.message)
    // Return the error as it is without a row: then the words of Postgres are all that is known.
    return row === undefined
      ? error
      : explainRights(error, { row, schemaName: this.#schemaName, isMigrating })
  }

  /**
   * The rights of the role, asked for once for all statements that are refused with these words: a grant changes the words, or
   * ends the refusals. After a while they are asked for again.
   */
  #rightsAt(words: string): Promise<RightsRow | undefined> {
    const known = this.#rights
    const now = performance.now()
    if (known !== undefined && known.words === words && now - known.at < rightsMs) return known.row
    const row = this.#askRights().catch(() => undefined)
    this.#rights = { words, at: now, row }
    return row
  }

  async #askRights(): Promise<RightsRow | undefined> {
    const client = await this.#lender.lend()
    try {
      const { rows } = await this.#send<RightsRow>(client, askRights(this.#schemaName))
      return rows[0]
    } finally {
      client.release()
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

/**
 * A lock that was not to be had, or a value that was refused: the server has ended the statement, and its transaction with
 * it. Settlements meet such errors by the hundred, and a connection takes longer to open than all of their work.
 */
function leavesNothing(error: unknown): boolean {
  const state = isLockstepError(error) ? error.details['sqlState'] : undefined
  return typeof state === 'string' && /^(?:22...|23...|55P03)$/.test(state)
}

/**
 * Sends the statement in a transaction with its own settings, in one flight: a pooler may use another client's
 * connection for the next one.
 */
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
    const mappedError = toOwnError(error, sending.schemaName)
    sending.state.note(error, mappedError)
    if (!sending.names.wasLost(error)) throw mappedError
    // The transaction is still open. Where it cannot be ended, the next statement says so.
    await tryRollback(client, sending)
    return sendPooled<Row>(client, statement, sending)
  }
}

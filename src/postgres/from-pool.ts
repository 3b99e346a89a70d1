import pg from 'pg'
import type { Pool, PoolClient } from 'pg'
import {
  LockstepError,
  type BeginOptions,
  type Database,
  type Queryable,
  type Snapshot,
  type Statement,
} from '../core/index.ts'
import { openPgSession } from './pg-session.ts'
import { send, sendScript, timed, tryRollback } from './pg-statements.ts'
import { PgTransaction } from './pg-transaction.ts'
import { PgTransactionClient } from './pg-transaction-client.ts'
import { quoteSchema } from './identifier.ts'
import { migrateSchema } from './migrate.ts'
import { toLockstepError } from './sqlstate.ts'
import { TransactionGuard } from './transaction-guard.ts'

/** What a user's code gets as `tx.db` with `fromPool`: the promise form of `pg`'s `query`. */
export type PgDatabase = Pick<PgTransactionClient, 'query'>

export interface FromPoolOptions {
  /** Schema of Lockstep's tables. Default `lockstep`. */
  readonly schema?: string
  /** Connections for Lockstep's own statements, beside the pool's. Default 3. */
  readonly ownConnections?: number
  /** How long to wait for a connection of the pool, in milliseconds. Default 5,000. */
  readonly acquireTimeoutMs?: number
  /**
   * How long one statement of Lockstep's own may take, BEGIN, COMMIT and ROLLBACK included, before its connection
   * is given up, in milliseconds. Default 10,000. Your statements are yours to bound (`statement_timeout`).
   */
  readonly statementTimeoutMs?: number
  /** Told of connections that break while nobody uses them. */
  readonly onConnectionError?: (error: Error) => void
}

/**
 * The driver for `pg`. Give the pool `pipeline: true`, and the flush and COMMIT of an operation travel in one
 * flight. The pool stays yours: `close` ends only Lockstep's own connections.
 * @throws LS_CONFIG_INVALID
 */
export function fromPool(pool: Pool, options: FromPoolOptions = {}): Database<PgDatabase> {
  const schemaName = options.schema ?? 'lockstep'
  const schema = quoteSchema(schemaName)
  const acquireTimeoutMs = options.acquireTimeoutMs ?? 5_000
  const timeoutMs = options.statementTimeoutMs ?? 10_000
  const onError = options.onConnectionError ?? (() => {})
  const ownPool = createOwnPool(pool, options.ownConnections ?? 3, acquireTimeoutMs)
  // An idle connection that breaks raises `error` on its pool, and an unheard `error` event ends the process.
  ownPool.on('error', onError)
  pool.on('error', onError)
  // A connection may break in the very packet that made it ready, before whoever waited for it has run.
  const listen = (client: PoolClient): void => listenForErrors(client, onError)
  ownPool.on('connect', listen)
  pool.on('connect', listen)

  const own: Queryable = {
    query: <Row>(statement: Statement) => send<Row>(ownPool, statement, timeoutMs),
  }

  const acquire = (): Promise<PoolClient> => acquireClient(pool, acquireTimeoutMs, onError)

  return {
    kind: 'postgres',
    singleSession: false,
    schema,
    own,
    db: new PgTransactionClient(pool, new TransactionGuard()),

    async migrate() {
      await inTransaction(ownPool, { begin: 'begin', timeoutMs, onError }, async (client) => {
        await migrateSchema(
          {
            query: <Row>(statement: Statement) => send<Row>(client, statement, timeoutMs),
            script: async (sql) => {
              await sendScript(client, sql)
            },
          },
          schemaName,
        )
      })
    },

    async begin({ operationId }: BeginOptions) {
      return PgTransaction.begin(await acquire(), { own, operationId, timeoutMs })
    },

    async snapshot<T>(work: (snapshot: Snapshot<PgDatabase>) => Promise<T>): Promise<T> {
      return inTransaction(
        { connect: acquire },
        { begin: 'begin isolation level repeatable read read only', timeoutMs, onError },
        async (client) => {
          const guard = new TransactionGuard()
          try {
            return await work({
              db: new PgTransactionClient(client, guard),
              own: { query: <Row>(statement: Statement) => send<Row>(client, statement, timeoutMs) },
            })
          } finally {
            guard.end()
          }
        },
      )
    },

    openSession: () => openPgSession(pool, acquireTimeoutMs),

    async close() {
      // The listener on the caller's pool stays: a connection can still break while that pool is ended.
      await ownPool.end()
    },
  }
}

/** Own connections to the same database: they write intents and notices while the user's pool is exhausted. */
function createOwnPool(pool: Pool, max: number, connectionTimeoutMillis: number): Pool {
  const own = new pg.Pool({
    ...pool.options,
    // pg makes the password non-enumerable, so the spread leaves it behind.
    password: pool.options.password,
    max,
    min: 0,
    pipeline: true,
    connectionTimeoutMillis,
    application_name: 'lockstep',
  })
  return own
}

async function acquireClient(
  pool: Pool,
  timeoutMs: number,
  onError: (error: Error) => void,
): Promise<PoolClient> {
  const connecting = pool.connect()
  let timer: NodeJS.Timeout | undefined
  const timeout = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(
        new LockstepError('LS_POOL_EXHAUSTED', {
          message: `No connection of the pool became free within ${timeoutMs} ms (max ${pool.options.max}).`,
        }),
      )
    }, timeoutMs)
  })
  try {
    const client = await Promise.race([connecting, timeout])
    listenForErrors(client, onError)
    return client
  } catch (error) {
    // The pool will still hand the client over; give it straight back. A failure to connect is reported below.
    connecting.then((client) => client.release()).catch(() => {})
    throw toLockstepError(error, 'LS_DATABASE_UNREACHABLE')
  } finally {
    clearTimeout(timer)
  }
}

const listening = new WeakSet<PoolClient>()

/** pg emits `error` on a connection that breaks while it is checked out, beside failing its statements. */
function listenForErrors(client: PoolClient, onError: (error: Error) => void): void {
  if (listening.has(client)) return
  listening.add(client)
  client.on('error', onError)
}

interface TransactionOptions {
  readonly begin: string
  readonly timeoutMs: number
  readonly onError: (error: Error) => void
}

async function inTransaction<T>(
  source: Pick<Pool, 'connect'>,
  { begin, timeoutMs, onError }: TransactionOptions,
  work: (client: PoolClient) => Promise<T>,
): Promise<T> {
  let client: PoolClient
  try {
    client = await source.connect()
  } catch (error) {
    throw toLockstepError(error, 'LS_DATABASE_UNREACHABLE')
  }
  listenForErrors(client, onError)
  let broken = false
  try {
    await client.query(timed({ text: begin }, timeoutMs))
    const result = await work(client)
    await client.query(timed({ text: 'commit' }, timeoutMs))
    return result
  } catch (error) {
    broken = !(await tryRollback(client, timeoutMs))
    throw error
  } finally {
    client.release(broken)
  }
}

import pg from 'pg'
import type { Pool, PoolClient, QueryResult } from 'pg'
import {
  LockstepError,
  type BeginOptions,
  type CommitEnding,
  type Database,
  type OpenTransaction,
  type Queryable,
  type Rows,
  type SavepointScope,
  type Snapshot,
  type Statement,
} from '../core/index.ts'
import { PgTransactionClient } from './pg-transaction-client.ts'
import { quoteSchema } from './identifier.ts'
import { migrateSchema } from './migrate.ts'
import { isErrorResponse, toLockstepError } from './sqlstate.ts'
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
  const onConnectionError = options.onConnectionError ?? (() => {})
  const ownPool = createOwnPool(pool, options.ownConnections ?? 3, acquireTimeoutMs)
  // An idle connection that breaks raises `error` on its pool, and an unheard `error` event ends the process.
  ownPool.on('error', onConnectionError)
  pool.on('error', onConnectionError)

  const own: Queryable = {
    query: <Row>(statement: Statement) => send<Row>(ownPool, statement),
  }

  const acquire = (): Promise<PoolClient> => acquireClient(pool, acquireTimeoutMs, onConnectionError)

  return {
    kind: 'postgres',
    singleSession: false,
    schema,
    own,
    db: new PgTransactionClient(pool, new TransactionGuard()),

    async migrate() {
      await inTransaction(ownPool, 'begin', onConnectionError, async (client) => {
        await migrateSchema(
          {
            query: <Row>(statement: Statement) => send<Row>(client, statement),
            script: async (sql) => {
              await client.query(sql)
            },
          },
          schemaName,
        )
      })
    },

    async begin({ operationId }: BeginOptions) {
      const client = await acquire()
      try {
        // The flush asserts the setting: it vanishes with the transaction, so a statement that ended the
        // transaction early cannot be followed by a flush that commits on its own.
        await client.query(
          `begin isolation level read committed; set local lockstep.operation = '${operationId}'`,
        )
      } catch (error) {
        client.release(true)
        throw toLockstepError(error, 'LS_CONNECTION_LOST')
      }
      return new PgTransaction(client, own)
    },

    async snapshot<T>(work: (snapshot: Snapshot<PgDatabase>) => Promise<T>): Promise<T> {
      return inTransaction(
        { connect: acquire },
        'begin isolation level repeatable read read only',
        onConnectionError,
        async (client) => {
          const guard = new TransactionGuard()
          try {
            return await work({
              db: new PgTransactionClient(client, guard),
              own: { query: <Row>(statement: Statement) => send<Row>(client, statement) },
            })
          } finally {
            guard.end()
          }
        },
      )
    },

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
    password: (pool.options as { password?: string }).password,
    max,
    min: 0,
    pipeline: true,
    connectionTimeoutMillis,
    application_name: 'lockstep',
  } as pg.PoolConfig)
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

async function send<Row>(target: Pool | PoolClient, statement: Statement): Promise<Rows<Row>> {
  try {
    return toRows<Row>(await target.query(statement.text, [...(statement.values ?? [])]))
  } catch (error) {
    throw toLockstepError(error, 'LS_CONNECTION_LOST')
  }
}

function toRows<Row>(result: QueryResult): Rows<Row> {
  return { rows: result.rows as readonly Row[], count: result.rowCount ?? 0 }
}

async function inTransaction<T>(
  source: Pick<Pool, 'connect'>,
  begin: string,
  onError: (error: Error) => void,
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
    await client.query(begin)
    const result = await work(client)
    await client.query('commit')
    return result
  } catch (error) {
    broken = !(await tryRollback(client))
    throw error
  } finally {
    client.release(broken)
  }
}

async function tryRollback(client: PoolClient): Promise<boolean> {
  try {
    await client.query('rollback')
    return true
  } catch {
    // The connection is gone, and the server rolls back by itself; the caller discards the client.
    return false
  }
}

class PgTransaction implements OpenTransaction<PgDatabase> {
  readonly db: PgDatabase
  readonly #client: PoolClient
  readonly #own: Queryable
  readonly #guard = new TransactionGuard()
  #discard = false
  #savepoints = 0

  constructor(client: PoolClient, own: Queryable) {
    this.#client = client
    this.#own = own
    this.db = new PgTransactionClient(client, this.#guard)
  }

  close(): void {
    this.#guard.end()
  }

  savepoint(): Promise<SavepointScope<PgDatabase>> {
    return this.#openSavepoint(this.#guard)
  }

  async commit<Row>(flush: Statement): Promise<CommitEnding<Row>> {
    this.close()
    const ending = await (isPipelined(this.#client)
      ? this.#commitInOneFlight<Row>(flush)
      : this.#commitInTurn<Row>(flush))
    this.#client.release(ending.ending === 'unknown' || this.#discard)
    return ending
  }

  async rollback(): Promise<void> {
    this.close()
    const healthy = await tryRollback(this.#client)
    this.#client.release(!healthy || this.#discard)
  }

  async cancel(): Promise<void> {
    // The cancel request may arrive after the statement has ended, so the connection is not used again.
    this.#discard = true
    const processId = (this.#client as unknown as { processID: number | null }).processID
    try {
      await this.#own.query({ text: 'select pg_cancel_backend($1)', values: [processId] })
    } catch {
      // Without it the statement runs to its end before the ROLLBACK; nothing commits either way.
    }
  }

  async #openSavepoint(guard: TransactionGuard): Promise<SavepointScope<PgDatabase>> {
    const nested = guard.nest()
    const name = `lockstep_${++this.#savepoints}`
    await this.#client.query(`savepoint ${name}`)
    const end = async (sql: string): Promise<void> => {
      nested.assertOpen()
      nested.end()
      await this.#client.query(sql)
    }
    return {
      db: new PgTransactionClient(this.#client, nested),
      savepoint: () => this.#openSavepoint(nested),
      release: () => end(`release savepoint ${name}`),
      rollback: () => end(`rollback to savepoint ${name}; release savepoint ${name}`),
    }
  }

  // Each statement of a flight has its own error boundary: a failed flush turns the COMMIT behind it into a
  // ROLLBACK, which answers without an error. Only the tag tells.
  async #commitInOneFlight<Row>(flush: Statement): Promise<CommitEnding<Row>> {
    const [flushed, committed] = await Promise.allSettled([
      this.#client.query(flush.text, [...(flush.values ?? [])]),
      this.#client.query('commit'),
    ])
    const flushError: unknown = flushed.status === 'rejected' ? flushed.reason : undefined
    if (committed.status === 'rejected') return endingOfFailedCommit(committed.reason, flushError)
    return endingOfTag(
      committed.value,
      flushed.status === 'fulfilled' ? flushed.value : undefined,
      flushError,
    )
  }

  async #commitInTurn<Row>(flush: Statement): Promise<CommitEnding<Row>> {
    let flushed: QueryResult
    try {
      flushed = await this.#client.query(flush.text, [...(flush.values ?? [])])
    } catch (error) {
      this.#discard = !(await tryRollback(this.#client))
      return { ending: 'rolled_back', error }
    }
    try {
      return endingOfTag(await this.#client.query('commit'), flushed, undefined)
    } catch (error) {
      return endingOfFailedCommit(error, undefined)
    }
  }
}

function endingOfTag<Row>(
  commit: QueryResult,
  flushed: QueryResult | undefined,
  flushError: unknown,
): CommitEnding<Row> {
  if (commit.command === 'COMMIT' && flushed !== undefined) {
    return { ending: 'committed', flushed: toRows<Row>(flushed) }
  }
  return { ending: 'rolled_back', error: flushError ?? new LockstepError('LS_TRANSACTION_ABORTED') }
}

function endingOfFailedCommit<Row>(error: unknown, flushError: unknown): CommitEnding<Row> {
  if (isErrorResponse(error)) return { ending: 'rolled_back', error: flushError ?? error }
  return { ending: 'unknown', error }
}

function isPipelined(client: PoolClient): boolean {
  return (client as unknown as { pipeline?: boolean }).pipeline === true
}

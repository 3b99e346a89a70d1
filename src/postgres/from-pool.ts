import type { Pool, PoolClient } from 'pg'
import {
  assertWholeNumbers,
  disregard,
  guarded,
  jsonLogger,
  LockstepError,
  TimeLimit,
  type BeginOptions,
  type Database,
  type Snapshot,
  type Statement,
} from '../core/index.ts'
import { GuardedPool } from './guarded-pool.ts'
import { beginOwn } from './own-connection.ts'
import { OwnPool } from './own-pool.ts'
import { openPgSession } from './pg-session.ts'
import { send, sendScript, timed, tryRollback, type SendOptions } from './pg-statements.ts'
import { PgBackend } from './pg-backend.ts'
import { PgSnapshot } from './pg-snapshot.ts'
import { PgTransaction } from './pg-transaction.ts'
import { PgTransactionClient, poolTarget } from './pg-transaction-client.ts'
import { StatementNames } from './statement-names.ts'
import { quoteSchema } from './identifier.ts'
import { migrateSchema } from './migrate.ts'
import { DatabaseState } from './database-state.ts'
import { RoleRestore } from './role-restore.ts'
import { sqlState, toLockstepError } from './sqlstate.ts'
import { TransactionGuard } from './transaction-guard.ts'

/** What a user's code gets as `tx.db` with `fromPool`: the promise form of `pg`'s `query`. */
export type PgDatabase = Pick<PgTransactionClient, 'query'>

export interface FromPoolOptions {
  /** Schema of Lockstep's tables. Default `lockstep`. */
  readonly schema?: string
  /** Connections for Lockstep's own statements, beside the pool's and the one of the node's lease. Default 3. */
  readonly ownConnections?: number
  /** How long to wait for a connection of the pool, in milliseconds. Default 5,000. */
  readonly acquireTimeoutMs?: number
  /**
   * How long one statement of Lockstep's own may take, BEGIN, COMMIT and ROLLBACK included, before its connection
   * is given up, in milliseconds. Default 10,000. Your statements are yours to bound (`statement_timeout`).
   */
  readonly statementTimeoutMs?: number
  /**
   * Whether Lockstep's own hot statements are prepared once for each connection. Default `true`; a pooler that
   * cannot have that is noticed, and the names are left out from then on.
   */
  readonly preparedStatements?: boolean
  /** Told of connections that break while nobody uses them. */
  readonly onConnectionError?: (error: Error) => void
}

/**
 * The driver for `pg`, with its JavaScript client. The pool stays yours: `close` ends only Lockstep's own connections.
 * @throws LS_CONFIG_INVALID
 */
export function fromPool(pool: Pool, options: FromPoolOptions = {}): Database<PgDatabase> {
  const schemaName = options.schema ?? 'lockstep'
  const schema = quoteSchema(schemaName)
  const { ownConnections = 3, acquireTimeoutMs = 5_000, statementTimeoutMs = 10_000 } = options
  assertWholeNumbers({ ownConnections, acquireTimeoutMs, statementTimeoutMs })
  const onError = guarded(options.onConnectionError ?? (() => {}), jsonLogger, 'onConnectionError')
  const names = new StatementNames(options.preparedStatements ?? true)
  const state = new DatabaseState()
  const sending: SendOptions = { limit: new TimeLimit(statementTimeoutMs), names, state }
  const own = new OwnPool(pool, {
    ...sending,
    config: { max: ownConnections, connectionTimeoutMillis: acquireTimeoutMs },
  })
  const lease = createLeasePool(pool, { ...sending, acquireTimeoutMs })
  for (const each of [pool, own.connections, lease.connections]) {
    // An idle connection that breaks raises `error` on its pool, and an unheard `error` event ends the process.
    each.on('error', onError)
    // A connection may break in the very packet that made it ready, before whoever waited for it has run.
    each.on('connect', (client: PoolClient) => listenForErrors(client, onError))
  }

  // As it was before `watchPool`: what Lockstep takes itself is not to be heard.
  const connect = pool.connect.bind(pool) as (...given: unknown[]) => Promise<PoolClient>
  const roles = new RoleRestore()
  const users = new GuardedPool({
    pool,
    connect: () => acquireClient(pool, { connect, timeoutMs: acquireTimeoutMs, onError, state }),
    over: (client) => ({ query: (statement) => send(client, statement, sending) }),
  })
  const acquire = (): Promise<PoolClient> => users.lend()

  /** One whose rights are known, before a transaction can change them. */
  const acquireKnown = async (): Promise<PoolClient> => {
    const client = await acquire()
    try {
      if (PgBackend.known(client) === undefined) await PgBackend.ask(client, sending)
      return client
    } catch (error) {
      client.release(true)
      throw toLockstepError(error, 'LS_CONNECTION_LOST')
    }
  }

  return {
    kind: 'postgres',
    singleSession: false,
    schema,
    own,
    lease,
    db: new PgTransactionClient(poolTarget(acquire, state), new TransactionGuard()),
    connections: pool.options.max,
    reads: (takeTurn) => {
      const target = poolTarget(acquire, state)
      return new PgTransactionClient(
        { query: (statement) => takeTurn(() => target.query(statement)) },
        new TransactionGuard(),
      )
    },

    async migrate() {
      await inTransaction(own.connections, { ...sending, begin: beginOwn, onError }, async (client) => {
        await migrateSchema(
          {
            query: <Row>(statement: Statement) => send<Row>(client, statement, sending),
            script: async (sql) => {
              await sendScript(client, sql)
            },
          },
          schemaName,
        )
      })
    },

    async begin({ operationId }: BeginOptions) {
      const client = await acquire()
      return PgTransaction.begin(client, {
        ...sending,
        own,
        operationId,
        roles,
        epoch: users.epochOf(client),
      })
    },

    async snapshot<T>(work: (snapshot: Snapshot<PgDatabase>) => Promise<T>): Promise<T> {
      const begin = 'begin isolation level repeatable read read only'
      let hasLearned = false
      const read = (): Promise<T> =>
        inTransaction({ connect: acquireKnown }, { ...sending, begin, onError }, async (client) => {
          const snapshot = new PgSnapshot(client, { ...sending, roles })
          try {
            return await work(snapshot.handle)
          } finally {
            snapshot.end()
            hasLearned = snapshot.hasLearned
          }
        })
      return read().catch((error: unknown) => {
        if (hasLearned) return read()
        throw error
      })
    },

    watchPool(hear) {
      pool.connect = ((...given: unknown[]) => {
        hear()
        return connect(...given)
      }) as Pool['connect']
    },

    trouble: () => state.trouble(),

    guard(gate) {
      for (const each of [users, own, lease]) each.guard(gate)
    },

    openSession: () => openPgSession(pool, acquireTimeoutMs),

    async close() {
      // The listener on the caller's pool stays: a connection can still break while that pool is ended.
      await Promise.all([own.close(), lease.close()])
    },
  }
}

/** A lease lives for 3 s by default: a connection that has broken in silence is given up within that time. */
const longestLeaseStatementMs = 3_000

/**
 * One connection for the lease. A second one is opened while the first does not answer, as one that has broken in
 * silence, and is closed again once nobody needs it.
 */
function createLeasePool(
  pool: Pool,
  { acquireTimeoutMs, limit, ...sending }: SendOptions & { readonly acquireTimeoutMs: number },
): OwnPool {
  return new OwnPool(pool, {
    ...sending,
    limit: new TimeLimit(Math.min(limit.ms, longestLeaseStatementMs)),
    config: {
      max: 2,
      connectionTimeoutMillis: Math.min(acquireTimeoutMs, longestLeaseStatementMs),
      idleTimeoutMillis: 10_000,
      application_name: 'lockstep lease',
    },
  })
}

interface AcquireOptions {
  readonly connect: () => Promise<PoolClient>
  readonly timeoutMs: number
  readonly onError: (error: Error) => void
  readonly state: DatabaseState
}

/** A connection of the pool, and none that was made before the server was found to be read-only. */
async function acquireClient(
  pool: Pool,
  { connect, timeoutMs, onError, state }: AcquireOptions,
): Promise<PoolClient> {
  try {
    for (;;) {
      // One that is idle, and that nobody waits for, comes at once.
      const isAtHand = pool.idleCount > pool.waitingCount
      const connecting = connect()
      const client = await (isAtHand ? connecting : orExhausted(pool, connecting, timeoutMs))
      if (!state.isOutdated(listenForErrors(client, onError))) return client
      client.release(true)
    }
  } catch (error) {
    state.note(error)
    throw toLockstepError(error, 'LS_DATABASE_UNREACHABLE')
  }
}

/** @throws LS_POOL_EXHAUSTED */
async function orExhausted(
  pool: Pool,
  connecting: Promise<PoolClient>,
  timeoutMs: number,
): Promise<PoolClient> {
  let timer: NodeJS.Timeout | undefined
  const timeout = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      // The pool will still hand the client over; give it straight back.
      disregard(connecting.then((client) => client.release()))
      reject(
        new LockstepError('LS_POOL_EXHAUSTED', {
          message: `No connection of the pool became free within ${timeoutMs} ms (max ${pool.options.max}).`,
        }),
      )
    }, timeoutMs)
  })
  try {
    return await Promise.race([connecting, timeout])
  } finally {
    clearTimeout(timer)
  }
}

/** When each connection was made, in monotonic milliseconds. */
const connectedAt = new WeakMap<PoolClient, number>()

/**
 * pg emits `error` on a connection that breaks while it is checked out, beside failing its statements.
 * @returns when the connection was made, or first seen
 */
function listenForErrors(client: PoolClient, onError: (error: Error) => void): number {
  const known = connectedAt.get(client)
  if (known !== undefined) return known
  const now = performance.now()
  connectedAt.set(client, now)
  client.on('error', onError)
  return now
}

interface TransactionOptions extends SendOptions {
  readonly begin: string
  readonly onError: (error: Error) => void
}

async function inTransaction<T>(
  source: Pick<Pool, 'connect'>,
  { begin, onError, ...sending }: TransactionOptions,
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
    await client.query(timed({ text: begin }, sending))
    const result = await work(client)
    await client.query(timed({ text: 'commit' }, sending))
    return result
  } catch (error) {
    // Where the transaction is read-only by our own wish, that it cannot write tells nothing of the database.
    const isOfState = sqlState(error) !== '25006' && sending.state.note(error)
    broken = !(await tryRollback(client, sending)) || isOfState
    throw error
  } finally {
    client.release(broken)
  }
}

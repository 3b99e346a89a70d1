import { mutationPoint } from '../protocol/mutation-point.ts'
import type { Pool, PoolClient } from 'pg'
import {
  assertOptions,
  assertWholeNumbers,
  guarded,
  jsonLogger,
  TimeLimit,
  type BeginOptions,
  type Database,
  type Snapshot,
  type Statement,
} from '../core/index.ts'
import { fromPoolShape, type FromPoolOptions } from './from-pool-options.ts'
import { assertPool } from './given-database.ts'
import { GuardedPool } from './guarded-pool.ts'
import { beginOwn } from './own-connection.ts'
import { createLeasePool } from './lease-pool.ts'
import { OwnPool } from './own-pool.ts'
import { openPgSession } from './pg-session.ts'
import { send, sendScript, type SendOptions } from './pg-statements.ts'
import { PgBackend } from './pg-backend.ts'
import { PgSnapshot } from './pg-snapshot.ts'
import type { PgPoolOptions } from './pg-transaction-options.ts'
import { PgTransaction } from './pg-transaction.ts'
import { PgTransactionClient, poolTarget } from './pg-transaction-client.ts'
import { StatementNames } from './statement-names.ts'
import { quoteSchema } from './identifier.ts'
import { acquireClient, inTransaction, listenForErrors } from './pool-clients.ts'
import { migrateSchema } from './migrate.ts'
import { DatabaseState } from './database-state.ts'
import { RoleRestore } from './role-restore.ts'
import { toLockstepError } from './sqlstate.ts'
import { TransactionGuard } from './transaction-guard.ts'

/** Client that user code gets as `tx.db` with `fromPool`: the promise form of `pg`'s `query`. */
export type PgDatabase = Pick<PgTransactionClient, 'query'>

/**
 * The driver for `pg`, with its JavaScript client. The pool stays yours: `close` ends only Lockstep's own connections.
 * @throws LS_CONFIG_INVALID
 */
export function fromPool(pool: Pool, options: FromPoolOptions = {}): Database<PgDatabase> {
  assertPool(pool)
  assertOptions('fromPool', options, fromPoolShape, 'fromPool(pool, { schema })')
  const schemaName = options.schema ?? 'lockstep'
  const schema = quoteSchema(schemaName)
  const { ownConnections = 3, acquireTimeoutMs = 5_000, statementTimeoutMs = 10_000 } = options
  assertWholeNumbers({ ownConnections, acquireTimeoutMs, statementTimeoutMs })
  const onError = guarded(options.onConnectionError ?? (() => {}), jsonLogger, 'onConnectionError')
  const names = new StatementNames(options.preparedStatements ?? true)
  const state = new DatabaseState(() => pool.ending)
  const sending: SendOptions = { limit: new TimeLimit(statementTimeoutMs), names, state, schemaName }
  const own = new OwnPool(pool, {
    ...sending,
    config: { max: ownConnections, connectionTimeoutMillis: acquireTimeoutMs },
  })
  const lease = createLeasePool(pool, { ...sending, acquireTimeoutMs })
  for (const each of [pool, own.connections, lease.connections]) {
    if (mutationPoint('broken idle connection not listened to')) break
    // An idle connection that breaks raises `error` on its pool, and an unheard `error` event ends the process.
    each.on('error', onError)
    // A connection may break in the very packet that made it ready, before whoever waited for it has run.
    each.on('connect', (client: PoolClient) => listenForErrors(client, onError))
  }

  // Keep `connect` as it was before `watchPool`, which should not hear of connections that Lockstep takes.
  const connect = pool.connect.bind(pool) as (...given: unknown[]) => Promise<PoolClient>
  const roles = new RoleRestore()
  const users = new GuardedPool({
    pool,
    connect: () => acquireClient(pool, { connect, timeoutMs: acquireTimeoutMs, onError, state }),
    over: (client) => ({ query: (statement) => send(client, statement, sending) }),
  })
  const acquire = (): Promise<PoolClient> => users.lend()
  const shared: PgPoolOptions = { ...sending, own, roles }

  /** Takes a connection and asks for its rights, before a transaction can change them. */
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
    ownConnections,
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
      let isMigrating = false
      const migrated = inTransaction(
        own.connections,
        { ...sending, begin: beginOwn, onError },
        async (client) => {
          await migrateSchema(
            {
              query: <Row>(statement: Statement) => send<Row>(client, statement, sending),
              script: async (sql) => {
                await sendScript(client, sql)
              },
              onChange: () => {
                isMigrating = true
              },
            },
            schemaName,
          )
        },
      )
      await migrated.catch(async (error: unknown) => {
        throw await own.explained(error, { isMigrating })
      })
    },

    async begin({ operationId, isolation }: BeginOptions) {
      const client = await acquire()
      return PgTransaction.begin(client, {
        pool: shared,
        operationId,
        isolation,
        epoch: users.epochOf(client),
      })
    },

    async snapshot<T>(work: (snapshot: Snapshot<PgDatabase>) => Promise<T>): Promise<T> {
      const begin = 'begin isolation level repeatable read read only'
      let hasLearned = false
      const read = (): Promise<T> =>
        inTransaction({ connect: acquireKnown }, { ...sending, begin, onError }, async (client) => {
          const snapshot = new PgSnapshot(client, sending, roles)
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

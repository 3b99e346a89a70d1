import {
  assertOptions,
  aText,
  type BeginOptions,
  type Database,
  type Queryable,
  type Snapshot,
  type SqlClient,
  type Statement,
} from '../core/index.ts'
import { assertPglite } from './given-database.ts'
import { quoteSchema } from './identifier.ts'
import { migrateSchema } from './migrate.ts'
import { localSettings } from './own-connection.ts'
import { guarded, isolationLevel, readAsOwn, toQueryable, type PgliteLike } from './pglite-statements.ts'
import { PgliteTransaction } from './pglite-transaction.ts'
import { RoleRestore, RoleWatch } from './role-restore.ts'
import { toOwnError } from './sqlstate.ts'
import { TransactionGuard, whileOpen } from './transaction-guard.ts'

export interface FromPgliteOptions {
  /** Schema of Lockstep's tables. Default `lockstep`. */
  readonly schema?: string
}

/**
 * Transactions that wait in PGlite for its one session: more than one, so that it has no idle moment between two of
 * them.
 */
const sessionQueue = 4

/**
 * The driver for PGlite: one process, one session. While an operation is open, every other statement waits.
 * The instance stays yours: `close` leaves it open.
 * @throws LS_CONFIG_INVALID
 */
export function fromPglite(pglite: PgliteLike, options: FromPgliteOptions = {}): Database<SqlClient> {
  assertPglite(pglite)
  assertOptions<FromPgliteOptions>('fromPglite', options, { schema: aText }, 'fromPglite(pglite, { schema })')
  const schemaName = options.schema ?? 'lockstep'
  const schema = quoteSchema(schemaName)
  const own: Queryable = {
    // Statements run under settings of their own, whatever the one session has.
    query: <Row>(statement: Statement) =>
      pglite
        .transaction(async (transaction) => {
          await transaction.exec([isolationLevel('read committed'), ...localSettings].join('; '))
          return toQueryable(transaction, schemaName).query<Row>(statement)
        })
        .catch((error: unknown) => {
          throw toOwnError(error, schemaName)
        }),
  }
  const roles = new RoleRestore()
  return {
    kind: 'pglite',
    singleSession: true,
    schema,
    own,
    ownConnections: 1,
    // Share one queue: there is one session, and so nothing to keep apart.
    lease: own,
    db: guarded(pglite, new TransactionGuard()),
    connections: sessionQueue,
    reads: (takeTurn) =>
      guarded(
        {
          query: (text, values) => takeTurn(() => pglite.query(text, values)),
          exec: (text) => pglite.exec(text),
        },
        new TransactionGuard(),
      ),

    async migrate() {
      await pglite.transaction(async (transaction) => {
        await migrateSchema(
          {
            ...toQueryable(transaction, schemaName),
            script: async (sql) => void (await transaction.exec(sql)),
          },
          schemaName,
        )
      })
    },

    begin: (begin: BeginOptions) => PgliteTransaction.begin(pglite, begin, { roles, schemaName }),

    async snapshot<T>(work: (snapshot: Snapshot<SqlClient>) => Promise<T>): Promise<T> {
      return pglite.transaction(async (transaction) => {
        await transaction.exec('set transaction isolation level repeatable read read only')
        const guard = new TransactionGuard()
        const roleWatch = new RoleWatch()
        try {
          const ownHere: Queryable = {
            query: (statement) =>
              roles.isNeededAfter(roleWatch)
                ? readAsOwn(transaction, statement, schemaName)
                : toQueryable(transaction, schemaName).query(statement),
          }
          const db = guarded(transaction, guard, { roleWatch })
          return await work({ db, own: whileOpen(ownHere, guard) })
        } finally {
          guard.end()
        }
      })
    },

    trouble: () => (pglite.closed === true ? { code: 'LS_DATABASE_CLOSED', agoMs: 0 } : undefined),

    async close() {
      // The instance belongs to the caller.
    },
  }
}

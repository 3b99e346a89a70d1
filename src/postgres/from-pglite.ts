import {
  disregard,
  LockstepError,
  type BeginOptions,
  type CommitEnding,
  type Database,
  type OpenTransaction,
  type Queryable,
  type Rows,
  type SavepointScope,
  type SavepointStatement,
  type SavepointWatch,
  type Snapshot,
  type SqlClient,
  type SqlResult,
  type Statement,
} from '../core/index.ts'
import { quoteSchema } from './identifier.ts'
import { migrateSchema } from './migrate.ts'
import { localSettings } from './own-connection.ts'
import { ownParsers } from './own-types.ts'
import { asOwn, restoreForFlush, RoleRestore, RoleWatch, type ConnectionRights } from './role-restore.ts'
import { isOfDatabase, toLockstepError } from './sqlstate.ts'
import { TransactionGuard, whileOpen } from './transaction-guard.ts'
import { toStatementError } from './statement-error.ts'
import { readUserStatement } from './user-statement.ts'
import { watched } from './watched.ts'

/** PGlite sends the BEGIN, without a word on how. */
const readCommitted = 'set transaction isolation level read committed'

interface PgliteResults {
  readonly rows: readonly unknown[]
  readonly affectedRows?: number
}

interface PgliteQueryOptions {
  readonly parsers?: Readonly<Record<number, (value: string) => unknown>>
}

interface PgliteQueryable {
  query(text: string, values?: unknown[], options?: PgliteQueryOptions): Promise<PgliteResults>
  exec(text: string): Promise<unknown>
}

/** The part of a PGlite instance that the driver uses; Lockstep never installs PGlite itself. */
export interface PgliteLike extends PgliteQueryable {
  transaction<T>(work: (transaction: PgliteQueryable) => Promise<T>): Promise<T>
}

export interface FromPgliteOptions {
  /** Schema of Lockstep's tables. Default `lockstep`. */
  readonly schema?: string
}

/** What waits in PGlite for its one session: more than one, so that it has no idle moment between two transactions. */
const sessionQueue = 4

/**
 * The driver for PGlite: one process, one session. While an operation is open, every other statement waits.
 * The instance stays yours: `close` leaves it open.
 * @throws LS_CONFIG_INVALID
 */
export function fromPglite(pglite: PgliteLike, options: FromPgliteOptions = {}): Database<SqlClient> {
  const schemaName = options.schema ?? 'lockstep'
  const schema = quoteSchema(schemaName)
  const own: Queryable = {
    // Under settings of its own, whatever the one session has.
    query: <Row>(statement: Statement) =>
      pglite.transaction(async (transaction) => {
        await transaction.exec([readCommitted, ...localSettings].join('; '))
        return toQueryable(transaction).query<Row>(statement)
      }),
  }
  const roles = new RoleRestore()
  return {
    kind: 'pglite',
    singleSession: true,
    schema,
    own,
    // There is one session, and so nothing to keep apart.
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
          { ...toQueryable(transaction), script: async (sql) => void (await transaction.exec(sql)) },
          schemaName,
        )
      })
    },

    begin: (begin: BeginOptions) => PgliteTransaction.begin(pglite, begin, roles),

    async snapshot<T>(work: (snapshot: Snapshot<SqlClient>) => Promise<T>): Promise<T> {
      return pglite.transaction(async (transaction) => {
        await transaction.exec('set transaction isolation level repeatable read read only')
        const guard = new TransactionGuard()
        const roleWatch = new RoleWatch()
        try {
          const ownHere: Queryable = {
            query: (statement) =>
              roles.isNeededAfter(roleWatch)
                ? readAsOwn(transaction, statement)
                : toQueryable(transaction).query(statement),
          }
          const db = guarded(transaction, guard, { roleWatch })
          return await work({ db, own: whileOpen(ownHere, guard) })
        } finally {
          guard.end()
        }
      })
    },

    async close() {
      // The instance belongs to the caller.
    },
  }
}

function toQueryable(target: PgliteQueryable): Queryable {
  return {
    async query<Row>(statement: Statement): Promise<Rows<Row>> {
      try {
        return toRows<Row>(await sendOwn(target, statement))
      } catch (error) {
        throw toLockstepError(error, 'LS_CONNECTION_LOST')
      }
    },
  }
}

function sendOwn(target: PgliteQueryable, { text, values = [] }: Statement): Promise<PgliteResults> {
  return target.query(text, [...values], { parsers: ownParsers })
}

function toRows<Row>(results: PgliteResults): Rows<Row> {
  return { rows: results.rows as readonly Row[], count: countOf(results) }
}

// PGlite counts changed rows only; pg counts returned ones too.
function countOf(results: PgliteResults): number {
  return Math.max(results.affectedRows ?? 0, results.rows.length)
}

/** The session of PGlite is its user's; only a transaction may have other rights. */
const rights: ConnectionRights = { role: 'none' }

async function readAsOwn<Row>(target: PgliteQueryable, statement: Statement): Promise<Rows<Row>> {
  const { before, after } = asOwn(rights)
  await target.exec(before.join('; '))
  const rows = await toQueryable(target).query<Row>(statement)
  await target.exec(after.join('; '))
  return rows
}

/** What a transaction hears of its statements. */
interface StatementHooks {
  readonly roleWatch: RoleWatch
  readonly savepointWatch?: SavepointWatch
  readonly onError?: (error: unknown) => void
}

function guarded(target: PgliteQueryable, guard: TransactionGuard, hooks?: StatementHooks): SqlClient {
  return {
    async query<Row>(text: string, values: readonly unknown[] = []): Promise<SqlResult<Row>> {
      guard.assertUsable()
      const savepoint = readUserStatement(text)
      const settle = savepoint === undefined ? undefined : hooks?.savepointWatch?.(savepoint)
      hooks?.roleWatch.see(text)
      const send = (): Promise<PgliteResults> =>
        target.query(text, [...values]).catch((error: unknown) => {
          const told = toStatementError(error)
          hooks?.onError?.(told)
          throw told
        })
      const results = await (settle === undefined ? send() : watched(settle, send))
      return { rows: results.rows as Row[], rowCount: countOf(results) }
    },
  }
}

/** Thrown into PGlite's transaction callback to make it roll back on request. */
const rollBackRequest = new Error('rolled back on request')

/**
 * PGlite opens and ends a transaction around a callback; here the callback waits until it is told how to end.
 */
class PgliteTransaction implements OpenTransaction<SqlClient> {
  readonly db: SqlClient
  readonly #target: PgliteQueryable
  readonly #guard = new TransactionGuard()
  readonly #finish: (flush: Statement | undefined) => Promise<PgliteResults>
  #savepoints = 0
  #watch: SavepointWatch | undefined
  #failure: unknown
  readonly #roles: RoleRestore
  readonly #roleWatch = new RoleWatch()
  readonly #hooks: Required<StatementHooks> = {
    roleWatch: this.#roleWatch,
    savepointWatch: (savepoint) => {
      const settle = this.#watch?.(savepoint)
      return (isCarriedOut) => {
        if (isCarriedOut && savepoint.verb === 'undo') this.#failure = undefined
        settle?.(isCarriedOut)
      }
    },
    onError: (error) => {
      if (isOfDatabase(error)) this.#failure ??= error
    },
  }

  private constructor(
    target: PgliteQueryable,
    finish: (flush: Statement | undefined) => Promise<PgliteResults>,
    roles: RoleRestore,
  ) {
    this.#target = target
    this.#finish = finish
    this.#roles = roles
    this.db = guarded(target, this.#guard, this.#hooks)
  }

  static begin(
    pglite: PgliteLike,
    { operationId }: BeginOptions,
    roles: RoleRestore,
  ): Promise<PgliteTransaction> {
    return new Promise((resolve, reject) => {
      let end: (flush: Statement | undefined) => void = () => {}
      const ended = new Promise<Statement | undefined>((resolveEnd) => (end = resolveEnd))
      const finished = pglite.transaction(async (transaction) => {
        await transaction.exec(`${readCommitted}; set local lockstep.operation = '${operationId}'`)
        const finish = (flush: Statement | undefined): Promise<PgliteResults> => {
          end(flush)
          return finished
        }
        const opened = new PgliteTransaction(transaction, finish, roles)
        resolve(opened)
        const flush = await ended
        if (flush === undefined) throw rollBackRequest
        return opened.#flush(flush)
      })
      // Rejects `begin` when BEGIN itself failed; later failures are answered where the end is awaited.
      disregard(finished.catch((error: unknown) => reject(toLockstepError(error, 'LS_CONNECTION_LOST'))))
    })
  }

  async #flush(flush: Statement): Promise<PgliteResults> {
    if (this.#roles.isNeededAfter(this.#roleWatch))
      await this.#target.exec(restoreForFlush(rights).join('; '))
    try {
      return await sendOwn(this.#target, flush)
    } catch (error) {
      if (!this.#roles.learn(error, this.#roleWatch)) throw error
      // The next attempt expects the role that a function of the user's had set.
      throw new LockstepError('LS_SERIALIZATION_FAILURE', { cause: error })
    }
  }

  watchSavepoints(watch: SavepointWatch): void {
    this.#watch = watch
  }

  get failure(): unknown {
    return this.#failure
  }

  close(): void {
    this.#guard.end()
  }

  savepoint(): Promise<SavepointScope<SqlClient>> {
    return this.#openSavepoint(this.#guard)
  }

  async #openSavepoint(guard: TransactionGuard): Promise<SavepointScope<SqlClient>> {
    const nested = guard.nest()
    const name = `lockstep_${++this.#savepoints}`
    await this.#sendSavepoint({ verb: 'set', name }, `savepoint ${name}`)
    const undo = (): Promise<void> =>
      this.#sendSavepoint({ verb: 'undo', name }, `rollback to savepoint ${name}; release savepoint ${name}`)
    const end = async (send: () => Promise<void>): Promise<void> => {
      nested.assertOpen()
      nested.end()
      await send()
    }
    return {
      db: guarded(this.#target, nested, this.#hooks),
      savepoint: () => this.#openSavepoint(nested),
      release: () =>
        end(() => this.#sendSavepoint({ verb: 'release', name }, `release savepoint ${name}`)).catch(
          async (error: unknown) => {
            // Most likely a statement had failed, and nobody said so. Where this fails too, all is lost anyway.
            await undo().catch(() => {})
            throw error
          },
        ),
      rollback: () => end(undo),
    }
  }

  #sendSavepoint(savepoint: SavepointStatement, text: string): Promise<void> {
    return watched(this.#hooks.savepointWatch(savepoint), async () => {
      try {
        await this.#target.exec(text)
      } catch (error) {
        this.#hooks.onError(error)
        throw error
      }
    })
  }

  async commit<Row>(flush: Statement): Promise<CommitEnding<Row>> {
    this.close()
    try {
      return { ending: 'committed', flushed: toRows<Row>(await this.#finish(flush)) }
    } catch (error) {
      // In the same process there is no reply to lose: an error is a rollback.
      return { ending: 'rolled_back', error }
    }
  }

  async rollback(): Promise<void> {
    this.close()
    await this.#finish(undefined).catch(() => {
      // The request itself comes back as the error.
    })
  }

  async cancel(): Promise<void> {
    // The one session runs a statement on the event loop: by the time this is called, none is running.
  }
}

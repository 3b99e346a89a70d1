import {
  disregard,
  LockstepError,
  type BeginOptions,
  type CommitResult,
  type OpenTransaction,
  type SavepointScope,
  type SavepointStatement,
  type SavepointWatch,
  type SqlClient,
  type Statements,
} from '../core/index.ts'
import {
  guarded,
  isolationLevel,
  rights,
  sendOwn,
  toRows,
  type PgliteLike,
  type PgliteQueryable,
  type PgliteResults,
  type StatementHooks,
} from './pglite-statements.ts'
import { restoreForFlush, RoleWatch, type RoleRestore } from './role-restore.ts'
import { isOfDatabase, toFlushError, toLockstepError } from './sqlstate.ts'
import { TransactionGuard } from './transaction-guard.ts'
import { watched } from './watched.ts'

/** Error that makes PGlite's transaction callback roll back on request. */
const rollBackRequest = new Error('rolled back on request')

export interface SharedByTransactions {
  readonly roles: RoleRestore
  readonly schemaName: string
}

/**
 * PGlite opens and ends a transaction around a callback; here the callback waits until it is told how to end.
 */
export class PgliteTransaction implements OpenTransaction<SqlClient> {
  readonly db: SqlClient
  readonly #target: PgliteQueryable
  readonly #guard = new TransactionGuard()
  readonly #finish: (flush: Statements | undefined) => Promise<readonly PgliteResults[]>
  #savepoints = 0
  #watch: SavepointWatch | undefined
  #failure: unknown
  readonly #roles: RoleRestore
  readonly #schemaName: string
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
    finish: (flush: Statements | undefined) => Promise<readonly PgliteResults[]>,
    { roles, schemaName }: SharedByTransactions,
  ) {
    this.#target = target
    this.#finish = finish
    this.#roles = roles
    this.#schemaName = schemaName
    this.db = guarded(target, this.#guard, this.#hooks)
  }

  static begin(
    pglite: PgliteLike,
    { operationId, isolation = 'read committed' }: BeginOptions,
    shared: SharedByTransactions,
  ): Promise<PgliteTransaction> {
    return new Promise((resolve, reject) => {
      let end: (flush: Statements | undefined) => void = () => {}
      const ended = new Promise<Statements | undefined>((resolveEnd) => (end = resolveEnd))
      const finished = pglite.transaction(async (transaction) => {
        await transaction.exec(
          `${isolationLevel(isolation)}; set local lockstep.operation = '${operationId}'`,
        )
        const finish = (flush: Statements | undefined): Promise<readonly PgliteResults[]> => {
          end(flush)
          return finished
        }
        const opened = new PgliteTransaction(transaction, finish, shared)
        resolve(opened)
        const flush = await ended
        if (flush === undefined) throw rollBackRequest
        return opened.#flush(flush)
      })
      // Rejects `begin` when BEGIN itself failed; later failures are answered where the end is awaited.
      disregard(finished.catch((error: unknown) => reject(toLockstepError(error, 'LS_CONNECTION_LOST'))))
    })
  }

  async #flush(flush: Statements): Promise<readonly PgliteResults[]> {
    if (this.#roles.isNeededAfter(this.#roleWatch))
      await this.#target.exec(restoreForFlush(rights).join('; '))
    try {
      const results: PgliteResults[] = []
      for (const statement of flush) results.push(await sendOwn(this.#target, statement))
      return results
    } catch (error) {
      if (!this.#roles.learn(error, this.#roleWatch)) throw toFlushError(error, this.#schemaName)
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
            // Undo, because a statement had most likely failed unseen. Where that fails too, all is lost anyway.
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

  async commit(flush: Statements): Promise<CommitResult> {
    this.close()
    try {
      const results = await this.#finish(flush)
      return { ending: 'committed', flushed: results.map((result) => toRows(result)) }
    } catch (error) {
      // An error is a rollback: in the same process there is no reply to lose.
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

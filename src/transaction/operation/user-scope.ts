import type { Admission, Database, Snapshot, UserContext } from '../../core/index.ts'
import type { Transaction } from './transaction.ts'

/** Runs first in everything that the application's code sends for a user. What it throws ends that. */
export type OnBegin<Db, User extends UserContext = UserContext> = (scope: {
  readonly db: Db
  readonly user: User
}) => Promise<void>

export interface UserScopeOptions<Db> {
  readonly database: Database<Db>
  readonly admission: Admission
  readonly onBegin: OnBegin<Db> | undefined
}

/**
 * How the application's code meets the database for one user: when it is that user's turn, and with `onBegin` before it, if
 * there is one.
 */
export class UserScope<Db> {
  readonly #database: Database<Db>
  readonly #admission: Admission
  readonly #onBegin: OnBegin<Db> | undefined

  constructor({ database, admission, onBegin }: UserScopeOptions<Db>) {
    this.#database = database
    this.#admission = admission
    this.#onBegin = onBegin
  }

  get schema(): string {
    return this.#database.schema
  }

  /** The work of an operation. Its first statement may be that of `onBegin`, which then carries BEGIN. */
  begin<Result>(work: (tx: Transaction<Db>) => Promise<Result>): (tx: Transaction<Db>) => Promise<Result> {
    const onBegin = this.#onBegin
    if (onBegin === undefined) return work
    return async (tx) => {
      await onBegin({ db: tx.db, user: tx.user })
      return work(tx)
    }
  }

  /** Reads one state of the database. @throws LS_NODE_OVERLOADED, database errors, and what `onBegin` and `work` throw */
  snapshot<T>(user: UserContext, work: (snapshot: Snapshot<Db>) => Promise<T>): Promise<T> {
    const onBegin = this.#onBegin
    if (onBegin === undefined) return this.#admission.run(user.id, () => this.#database.snapshot(work))
    return this.#admission.run(user.id, () =>
      this.#database.snapshot(async (snapshot) => {
        await onBegin({ db: snapshot.db, user })
        return work(snapshot)
      }),
    )
  }

  /**
   * Asks a check of the application's. With `onBegin` it reads in a snapshot, since what that sets holds in a
   * transaction only; without, over the application's pool, in turn for each statement, so that a check that reads nothing costs nothing.
   */
  async check<T>(user: UserContext, ask: (db: Db) => T | Promise<T>): Promise<T> {
    if (this.#onBegin === undefined)
      return ask(this.#database.reads((work) => this.#admission.run(user.id, work)))
    return this.snapshot(user, async ({ db }) => ask(db))
  }
}

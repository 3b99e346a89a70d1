import type { PoolClient, QueryConfig, QueryResult, QueryResultRow } from 'pg'
import {
  disregard,
  isError,
  LockstepError,
  type CommitResult,
  type OpenTransaction,
  type SavepointScope,
  type SavepointStatement,
  type SavepointWatch,
  type Statements,
} from '../core/index.ts'
import { PgBackend } from './pg-backend.ts'
import { whyEnded } from './connection-ending.ts'
import { commitResultOf } from './commit-ending.ts'
import { beginOwn } from './own-connection.ts'
import { assertFlights, sendAlone, sendFlight } from './pg-flight.ts'
import { timed, toConfig, tryRollback } from './pg-statements.ts'
import type { PgPoolOptions, PgTransactionOptions } from './pg-transaction-options.ts'
import { PgTransactionClient, type PgTarget } from './pg-transaction-client.ts'
import { restoreForFlush, RoleWatch } from './role-restore.ts'
import { isErrorResponse, isOfDatabase, toFlushError, toLockstepError } from './sqlstate.ts'
import { toStatementError } from './statement-error.ts'
import { TransactionGuard } from './transaction-guard.ts'
import { watched } from './watched.ts'

/**
 * A transaction on one connection of the caller's pool, which is given back or discarded at its end. BEGIN leaves in
 * the flight of the first statement, COMMIT in that of the flush.
 */
export class PgTransaction implements OpenTransaction<PgTransactionClient>, PgTarget {
  readonly db: PgTransactionClient
  readonly epoch: string | undefined
  readonly #client: PoolClient
  readonly #options: PgPoolOptions
  /**
   * Statements that begin it under the operation's id. The setting vanishes with the transaction; the flush asserts it,
   * so that it cannot commit on its own behind a statement that ended the transaction early.
   */
  readonly #begin: readonly string[]
  readonly #guard = new TransactionGuard()
  /** Settles when BEGIN was carried out. Absent until it is sent. */
  #beginning: Promise<void> | undefined
  #hasBegun = false
  readonly #backend: PgBackend
  readonly #roleWatch = new RoleWatch()
  #discard = false
  #isCancelled = false
  #failure: unknown
  #savepoints = 0
  #watch: SavepointWatch | undefined

  private constructor(client: PoolClient, backend: PgBackend, options: PgTransactionOptions) {
    this.#client = client
    this.#backend = backend
    this.#options = options.pool
    const { operationId, isolation } = options
    const begin = isolation === undefined ? beginOwn : `begin isolation level ${isolation}`
    this.#begin = [begin, `set local lockstep.operation = '${operationId}'`, ...backend.marks(operationId)]
    this.epoch = options.epoch
    this.db = new PgTransactionClient(this, this.#guard)
  }

  /**
   * Asks a connection first that is new, or has rested: what happens to a statement on one that has broken in
   * silence is known only after its time-out.
   * @throws LS_CONNECTION_LOST, LS_CONFIG_INVALID; the client is discarded then
   */
  static async begin(client: PoolClient, options: PgTransactionOptions): Promise<PgTransaction> {
    try {
      assertFlights(client)
      const backend = PgBackend.known(client) ?? (await PgBackend.ask(client, options.pool))
      const transaction = new PgTransaction(client, backend, options)
      if (backend.hasRested) await transaction.#beginAlone()
      return transaction
    } catch (error) {
      options.pool.state.note(error)
      client.release(true)
      throw toLockstepError(error, 'LS_CONNECTION_LOST')
    }
  }

  watchSavepoints(watch: SavepointWatch): void {
    this.#watch = watch
  }

  readonly savepointWatch: SavepointWatch = (savepoint) => {
    const settle = this.#watch?.(savepoint)
    return (isCarriedOut) => {
      if (isCarriedOut && savepoint.verb === 'undo') this.#failure = undefined
      settle?.(isCarriedOut)
    }
  }

  get failure(): unknown {
    return this.#failure
  }

  close(): void {
    this.#guard.end()
  }

  /** Undefined once BEGIN was carried out; until then, what follows the first statement has to wait. */
  get pending(): Promise<void> | undefined {
    return this.#hasBegun ? undefined : this.#beginning
  }

  /** @throws LS_TRANSACTION_CLOSED, and the driver's own errors */
  query<Row extends QueryResultRow>(statement: QueryConfig): Promise<QueryResult<Row>> {
    this.#guard.assertOpen()
    this.#roleWatch.see(statement.text)
    return this.#beginning === undefined
      ? this.#beginWith<Row>(statement)
      : sendAlone<Row>(this.#client, statement, this.#onError)
  }

  /** The error as the user's code gets it. */
  readonly #onError = (thrown: unknown): unknown => {
    // The driver says only that the connection cannot be used where it had ended before.
    const error = whyEnded(this.#client) ?? thrown
    const mappedError = toStatementError(error)
    // A statement that fails after its backend was ended on purpose tells nothing.
    if (this.#isCancelled) return mappedError
    if (isOfDatabase(error)) this.#failure ??= mappedError
    if (this.#options.state.note(error)) this.#discard = true
    return mappedError
  }

  savepoint(): Promise<SavepointScope<PgTransactionClient>> {
    return this.#openSavepoint(this.#guard)
  }

  async commit(flush: Statements): Promise<CommitResult> {
    this.close()
    const ending = await this.#commit(flush)
    this.#release(ending.ending === 'unknown')
    return ending
  }

  async rollback(): Promise<void> {
    this.close()
    this.#release(this.#beginning !== undefined && !(await tryRollback(this.#client, this.#options)))
  }

  async cancel(): Promise<void> {
    // Keep the connection when no statement was sent: none can follow, and the connection is as it was.
    if (this.#beginning === undefined) return
    this.#discard = true
    this.#isCancelled = true
    try {
      await this.#backend.terminate(this.#options.own)
    } catch {
      // Go on without the termination: the statement runs to its end before the ROLLBACK, and nothing commits either
      // way.
    }
  }

  /** Begins in one round trip, and without a query, so that the user's code may still set the isolation level. */
  #beginAlone(): Promise<void> {
    this.#beginning = this.#sendBegin()
    return this.#beginning
  }

  async #sendBegin(): Promise<void> {
    await this.#client.query(timed({ text: this.#begin.join('; ') }, this.#options))
    this.#hasBegun = true
  }

  async #beginWith<Row extends QueryResultRow>(statement: QueryConfig): Promise<QueryResult<Row>> {
    let onFirst: () => void = () => {}
    let onFailure: (error: unknown) => void = () => {}
    this.#beginning = new Promise<void>((resolve, reject) => {
      onFirst = () => {
        this.#hasBegun = true
        resolve()
      }
      onFailure = reject
    })
    // The next statement, which waits for it, gets the error.
    disregard(this.#beginning)
    try {
      const [result] = await sendFlight(this.#client, {
        before: this.#begin,
        statement,
        after: [],
        onFirst,
      })
      return result as QueryResult<Row>
    } catch (error) {
      if (!this.#hasBegun) onFailure(error)
      // The error's own stack begins at the socket.
      if (isError(error) && Object.isExtensible(error)) Error.captureStackTrace(error)
      throw this.#onError(error)
    }
  }

  async #openSavepoint(guard: TransactionGuard): Promise<SavepointScope<PgTransactionClient>> {
    const nested = guard.nest()
    const name = `lockstep_${++this.#savepoints}`
    const release = `release savepoint ${name}`
    await this.#sendSavepoint({ verb: 'set', name }, [], `savepoint ${name}`)
    const undo = (): Promise<void> =>
      this.#sendSavepoint({ verb: 'undo', name }, [`rollback to savepoint ${name}`], release)
    const end = async (send: () => Promise<void>): Promise<void> => {
      nested.assertOpen()
      nested.end()
      await send()
    }
    return {
      db: new PgTransactionClient(this, nested),
      savepoint: () => this.#openSavepoint(nested),
      release: () =>
        end(() => this.#sendSavepoint({ verb: 'release', name }, [], release)).catch(
          async (error: unknown) => {
            // Undo, because a statement had most likely failed unseen. Where that fails too, all is lost anyway.
            await undo().catch(() => {})
            throw error
          },
        ),
      rollback: () => end(undo),
    }
  }

  /** A nested transaction's own statements, in one flight, which waits for BEGIN as any other. */
  #sendSavepoint(savepoint: SavepointStatement, before: readonly string[], text: string): Promise<void> {
    return watched(this.savepointWatch(savepoint), async () => {
      if (this.#beginning === undefined) {
        await this.#beginWith(timed({ text }, this.#options))
        return
      }
      await this.pending
      this.#guard.assertOpen()
      const { limit } = this.#options
      await sendFlight(this.#client, { before, statement: { text }, after: [], limit }).catch(
        (error: unknown) => {
          throw this.#onError(error)
        },
      )
    })
  }

  async #commit(flush: Statements): Promise<CommitResult> {
    const { limit } = this.#options
    const before = this.#beginning === undefined ? this.#begin : this.#rights
    try {
      await this.pending
    } catch (error) {
      // Report a rollback: the transaction never began, so there is nothing to commit.
      this.#discard = true
      return { ending: 'rolled_back', error }
    }
    const ended = whyEnded(this.#client)
    if (ended !== undefined) {
      // Report a rollback: no COMMIT was sent, so none can have succeeded.
      this.#discard = true
      return { ending: 'rolled_back', error: toStatementError(ended) }
    }
    let carriedOut = 0
    const onStatement = (): void => void (carriedOut += 1)
    try {
      const sending = this.#backend.isUtf8 ? this.#options : { ...this.#options, isAscii: true }
      const [first, ...others] = flush
      const statement = toConfig(first, sending)
      const after = [...others.map((each) => toConfig(each, sending)), 'commit']
      return commitResultOf(await sendFlight(this.#client, { before, statement, after, limit, onStatement }))
    } catch (error) {
      if (this.#options.state.note(error)) this.#discard = true
      if (!isErrorResponse(error)) return { ending: 'unknown', error }
      // COMMIT was skipped, or failed itself: in the first case the transaction is still open. Where nobody is left
      // to end it the answer was a FATAL one, which may have followed a COMMIT that took effect.
      if (!(await tryRollback(this.#client, this.#options))) return { ending: 'unknown', error }
      return { ending: 'rolled_back', error: carriedOut >= flush.length ? error : this.#toFlushError(error) }
    }
  }

  /** Statements by which the flush gets the rights back that the transaction began with, if the user's code set others. */
  get #rights(): readonly string[] {
    const isNeeded = this.#options.roles.isNeededAfter(this.#roleWatch)
    return isNeeded ? restoreForFlush(this.#backend.rights) : []
  }

  /**
   * Explains a refused flush. COMMIT fails for what the user's own deferred triggers do, with whatever rights. A
   * prepared flush that the pooler lost is worth another attempt, which sends it without a name; and so is one for
   * which a function of the user's had set a role without rights, which is expected from then on.
   */
  #toFlushError(error: unknown): unknown {
    const { names, roles, schemaName } = this.#options
    if (!names.wasLost(error) && !roles.learn(error, this.#roleWatch)) return toFlushError(error, schemaName)
    return new LockstepError('LS_SERIALIZATION_FAILURE', { cause: error })
  }

  #release(isBroken: boolean): void {
    this.#backend.endTransaction()
    this.#client.release(isBroken || this.#discard)
  }
}

import type { Writable } from 'node:stream'
import type { PoolClient, QueryResult } from 'pg'
import {
  LockstepError,
  type CommitEnding,
  type OpenTransaction,
  type Queryable,
  type SavepointScope,
  type Statement,
} from '../core/index.ts'
import { timed, toRows, tryRollback, type SendOptions } from './pg-statements.ts'
import { PgTransactionClient } from './pg-transaction-client.ts'
import { isErrorResponse, toLockstepError } from './sqlstate.ts'
import { TransactionGuard } from './transaction-guard.ts'

export interface PgTransactionOptions extends SendOptions {
  readonly own: Queryable
  readonly operationId: string
}

/** One transaction on one connection of the caller's pool, which it gives back or discards at its end. */
export class PgTransaction implements OpenTransaction<PgTransactionClient> {
  readonly db: PgTransactionClient
  readonly #client: PoolClient
  readonly #options: PgTransactionOptions
  readonly #guard = new TransactionGuard()
  #discard = false
  #savepoints = 0

  private constructor(client: PoolClient, options: PgTransactionOptions) {
    this.#client = client
    this.#options = options
    this.db = new PgTransactionClient(client, this.#guard)
  }

  /** @throws LS_CONNECTION_LOST; the client is discarded then */
  static async begin(client: PoolClient, options: PgTransactionOptions): Promise<PgTransaction> {
    try {
      await client.query(timed({ text: beginStatement(options.operationId) }, options))
      return new PgTransaction(client, options)
    } catch (error) {
      client.release(true)
      throw toLockstepError(error, 'LS_CONNECTION_LOST')
    }
  }

  close(): void {
    this.#guard.end()
  }

  savepoint(): Promise<SavepointScope<PgTransactionClient>> {
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
    const healthy = await tryRollback(this.#client, this.#options)
    this.#client.release(!healthy || this.#discard)
  }

  async cancel(): Promise<void> {
    this.#discard = true
    try {
      // Not pg_cancel_backend: a statement that is still on its way would start after it, and run to its end.
      // Answers once the backend is gone, and its locks with it.
      await this.#options.own.query({
        text: `select pg_terminate_backend(pid, 5000) from pg_stat_activity
               where application_name = $1 and datname = current_database()`,
        values: [applicationName(this.#options.operationId)],
      })
    } catch {
      // Without it the statement runs to its end before the ROLLBACK; nothing commits either way.
    }
  }

  #send(statement: Statement): Promise<QueryResult> {
    return this.#client.query(timed(statement, this.#options))
  }

  async #openSavepoint(guard: TransactionGuard): Promise<SavepointScope<PgTransactionClient>> {
    const nested = guard.nest()
    const name = `lockstep_${++this.#savepoints}`
    await this.#send({ text: `savepoint ${name}` })
    const end = async (sql: string): Promise<void> => {
      nested.assertOpen()
      nested.end()
      await this.#send({ text: sql })
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
    const uncork = cork(this.#client)
    const sent = [this.#send(flush), this.#send({ text: 'commit' })] as const
    uncork()
    const [flushed, committed] = await Promise.allSettled(sent)
    const flushError = flushed.status === 'rejected' ? this.#toFlushError(flushed.reason) : undefined
    if (committed.status === 'rejected') return endingOfFailedCommit(committed.reason, flushError)
    return endingOfTag(
      committed.value,
      flushed.status === 'fulfilled' ? flushed.value : undefined,
      flushError,
    )
  }

  /** A prepared flush that the pooler lost is worth another attempt, which sends it without a name. */
  #toFlushError(error: unknown): unknown {
    if (!this.#options.names.wasLost(error)) return error
    return new LockstepError('LS_SERIALIZATION_FAILURE', { cause: error })
  }

  async #commitInTurn<Row>(flush: Statement): Promise<CommitEnding<Row>> {
    let flushed: QueryResult
    try {
      flushed = await this.#send(flush)
    } catch (error) {
      this.#discard = !(await tryRollback(this.#client, this.#options))
      return { ending: 'rolled_back', error: this.#toFlushError(error) }
    }
    try {
      return endingOfTag(await this.#send({ text: 'commit' }), flushed, undefined)
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

/** What is sent until the answer is called leaves in one packet; @types/pg does not know the stream. */
function cork(client: PoolClient): () => void {
  const { stream } = (client as unknown as { connection: { stream: Writable } }).connection
  stream.cork()
  return () => stream.uncork()
}

function isPipelined(client: PoolClient): boolean {
  return (client as unknown as { pipeline?: boolean }).pipeline === true
}

/**
 * Begins a transaction under an operation's id, in one round trip and without a query, so that the user's code
 * may still set its isolation level. Both settings vanish with the transaction. The flush asserts the first, so
 * that it cannot commit on its own behind a statement that ended the transaction early; by the second the
 * backend is found when it has to be stopped, also behind a pooler, where the client is told another process id.
 */
function beginStatement(operationId: string): string {
  return `begin isolation level read committed;
    set local lockstep.operation = '${operationId}';
    set local application_name = '${applicationName(operationId)}'`
}

function applicationName(operationId: string): string {
  return `lockstep ${operationId}`
}

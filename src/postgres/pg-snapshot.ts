import type { PoolClient, QueryConfig, QueryResult, QueryResultRow } from 'pg'
import type { Rows, Snapshot, Statement } from '../core/index.ts'
import { PgBackend } from './pg-backend.ts'
import { sendAlone, sendFlight } from './pg-flight.ts'
import { send, timed, toRows, type SendOptions } from './pg-statements.ts'
import { PgTransactionClient, type PgTarget } from './pg-transaction-client.ts'
import { asOwn, RoleWatch, type RoleRestore } from './role-restore.ts'
import { toLockstepError, toOwnError } from './sqlstate.ts'
import { TransactionGuard, whileOpen } from './transaction-guard.ts'

/** Reads of user code in one state of the database, over one connection that has begun. */
export class PgSnapshot implements PgTarget {
  readonly handle: Snapshot<PgTransactionClient>
  readonly #client: PoolClient
  readonly #sending: SendOptions
  readonly #roles: RoleRestore
  readonly #guard = new TransactionGuard()
  readonly #watch = new RoleWatch()
  #hasLearned = false

  constructor(client: PoolClient, sending: SendOptions, roles: RoleRestore) {
    this.#client = client
    this.#sending = sending
    this.#roles = roles
    this.handle = {
      db: new PgTransactionClient(this, this.#guard),
      own: whileOpen({ query: <Row>(statement: Statement) => this.#queryOwn<Row>(statement) }, this.#guard),
    }
  }

  /** A read of Lockstep's was refused to a role that the user's code had set: the next snapshot restores the rights. */
  get hasLearned(): boolean {
    return this.#hasLearned
  }

  query<Row extends QueryResultRow>(statement: QueryConfig): Promise<QueryResult<Row>> {
    this.#watch.see(statement.text)
    return sendAlone<Row>(this.#client, statement)
  }

  end(): void {
    this.#guard.end()
  }

  async #queryOwn<Row>(statement: Statement): Promise<Rows<Row>> {
    const rights = PgBackend.known(this.#client)?.rights
    if (rights === undefined || !this.#roles.isNeededAfter(this.#watch)) {
      return send<Row>(this.#client, statement, this.#sending).catch((error: unknown) => {
        this.#hasLearned ||= this.#roles.learn(toLockstepError(error).cause, this.#watch)
        throw error
      })
    }
    try {
      const flight = { ...asOwn(rights), statement: timed(statement, this.#sending) }
      const [result] = await sendFlight(this.#client, flight)
      return toRows<Row>(result)
    } catch (error) {
      throw toOwnError(error, this.#sending.schemaName)
    }
  }
}

import { randomBytes } from 'node:crypto'
import type { PoolClient, QueryResult } from 'pg'
import { LockstepError, type Queryable } from '../core/index.ts'
import { timed, type SendOptions } from './pg-statements.ts'
import type { ConnectionRights } from './role-restore.ts'

/** The server's side of one connection: how long it has been silent, and how it is found to be ended. */
export class PgBackend {
  readonly #pid: number
  readonly #startedAt: string
  /** False behind a pooler, which gives each transaction another backend, and tells the client none of them. */
  readonly #isTheClients: boolean
  /** Rights of the connection before a transaction has changed anything. */
  readonly rights: ConnectionRights
  readonly #hasUtf8: boolean
  #clientEncoding = 'UTF8'
  #heardAt = performance.now()
  /** Names the backend of the transaction that runs, where a pooler hides it. At most 63 bytes, empty between transactions. */
  #mark = ''

  private constructor(client: PoolClient, { pid, started_at, encoding, role, session_user }: BackendRow) {
    const { processID, connection } = client as unknown as WatchedClient
    this.#pid = Number(pid)
    this.#startedAt = started_at
    this.#hasUtf8 = encoding === 'UTF8'
    this.rights = { role, sessionUser: session_user }
    this.#isTheClients = processID === this.#pid
    // Postgres tells of each change of this setting, whoever made it.
    connection.on('parameterStatus', ({ parameterName, parameterValue }) => {
      if (parameterName === 'client_encoding') this.#clientEncoding = parameterValue
    })
  }

  /** Undefined before the first use of a connection. */
  static known(client: PoolClient): PgBackend | undefined {
    return backends.get(client)
  }

  /** Asks the server, at the first use of a connection. @throws the driver's own errors */
  static async ask(client: PoolClient, options: SendOptions): Promise<PgBackend> {
    const answer: QueryResult<BackendRow> = await client.query(timed({ text: identify }, options))
    const [row] = answer.rows
    if (row === undefined) throw new LockstepError('LS_CONNECTION_LOST')
    const backend = new PgBackend(client, row)
    backends.set(client, backend)
    return backend
  }

  /** Whether the connection was idle for so long that it may have broken in silence, as behind a firewall. */
  get hasRested(): boolean {
    return performance.now() - this.#heardAt > restMs
  }

  /** True when the server understands and keeps UTF-8, which is how `pg` sends text. Otherwise only ASCII is safe. */
  get isUtf8(): boolean {
    return this.#hasUtf8 && this.#clientEncoding === 'UTF8'
  }

  endTransaction(): void {
    this.#heardAt = performance.now()
    this.#mark = ''
  }

  /** Statements of a transaction's beginning by which `terminate` finds who works for it. */
  marks(operationId: string): readonly string[] {
    if (this.#isTheClients) return []
    // Copies of an operation, and operations of other users, may have the same id at the same time.
    this.#mark = `lockstep ${operationId} ${randomBytes(6).toString('hex')}`
    return [`set local application_name = '${this.#mark}'`]
  }

  /** Ends it, and answers once it is gone, and its locks with it. @throws what `own` throws */
  async terminate(own: Queryable): Promise<void> {
    // Connections without a name of their own are the application's.
    if (!this.#isTheClients && this.#mark === '') return
    // Terminate instead of pg_cancel_backend: a statement still on its way would start after a cancel, and run to its
    // end.
    const select = 'select pg_terminate_backend(pid, 5000) from pg_stat_activity'
    await own.query(
      this.#isTheClients
        ? {
            text: `${select} where pid = $1 and extract(epoch from backend_start)::text = $2`,
            values: [this.#pid, this.#startedAt],
          }
        : {
            text: `${select} where application_name = $1 and datname = current_database()`,
            values: [this.#mark],
          },
    )
  }
}

const backends = new WeakMap<PoolClient, PgBackend>()
const restMs = 1_000

interface BackendRow {
  readonly pid: string
  /**
   * Start time of the backend, in seconds. It names the backend for good together with the process id, since process
   * ids come again.
   */
  readonly started_at: string
  readonly encoding: string
  readonly role: string
  readonly session_user: string
}

/** Members of `pg`'s client that are used here and missing from its types. */
interface WatchedClient {
  readonly processID?: number
  readonly connection: {
    on(
      event: 'parameterStatus',
      hear: (status: { readonly parameterName: string; readonly parameterValue: string }) => void,
    ): unknown
  }
}

const identify = `select pid::pg_catalog.text as pid, extract(epoch from backend_start)::pg_catalog.text as started_at,
    pg_catalog.current_setting('server_encoding') as encoding, pg_catalog.current_setting('role') as role,
    session_user::pg_catalog.text as session_user
  from pg_catalog.pg_stat_get_activity(pg_catalog.pg_backend_pid())`

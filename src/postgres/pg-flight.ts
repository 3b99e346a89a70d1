import type { Writable } from 'node:stream'
import type { PoolClient, QueryConfig, QueryResult, QueryResultRow } from 'pg'
import { LockstepError } from '../core/index.ts'
import { toStatementError } from './statement-error.ts'
import type { TimeLimit } from '../core/index.ts'

/** Statements that travel together. A plain text has no parameters and answers nothing that is read. */
export interface Flight {
  readonly before: readonly string[]
  readonly statement: QueryConfig
  /** Statements and configurations that follow. Configurations are sent without their name. */
  readonly after: readonly (string | QueryConfig)[]
  /** Limit after which the connection is destroyed. Absent: the `query_timeout` of the statement, if it has one. */
  readonly limit?: TimeLimit | undefined
  /** The first of `before` was carried out. */
  readonly onFirst?: () => void
  /** The statement was carried out, or one of `after`; those behind it may still fail. */
  readonly onStatement?: () => void
}

/** Results of the statement, then of each that came after it. */
export type FlightResults = readonly [QueryResult, ...QueryResult[]]

/**
 * Sends several statements with one Sync behind the last. The server skips all that follow an error up to the Sync
 * (Postgres manual, "Extended Query"), so that none of them can run outside the transaction that an earlier one was
 * to begin, and no COMMIT behind a flush that failed. `pg` by itself sends a Sync with each.
 * @throws errors of `pg`
 */
export function sendFlight(client: PoolClient, flight: Flight): Promise<FlightResults> {
  const FlightQuery = flightQueryOf(client)
  const flying = client as unknown as FlyingClient
  return new Promise((resolve, reject) => {
    const { limit, statement } = flight
    const limited = limit?.start(() => {
      reject(new Error('Query read timeout'))
      flying.connection.stream.destroy()
    })
    const query = new FlightQuery(flight, (error, results) => {
      limited?.leave()
      if (error !== null) reject(error)
      else resolve((Array.isArray(results) ? results : [results]) as unknown as FlightResults)
    })
    const { query_timeout: timeoutMs } = statement as { readonly query_timeout?: number }
    if (limit === undefined && timeoutMs !== undefined) query.query_timeout = timeoutMs
    flying.query(query)
  })
}

/**
 * Sends one statement of the user's code, by the extended protocol, which takes no second one along in its text.
 * @param toTold the error as the code gets it
 */
export function sendAlone<Row extends QueryResultRow>(
  client: PoolClient,
  statement: QueryConfig,
  toTold: (error: unknown) => unknown = toStatementError,
): Promise<QueryResult<Row>> {
  const FlightQuery = flightQueryOf(client)
  return new Promise((resolve, reject) => {
    const query = new FlightQuery({ before: [], statement, after: [] }, (error, results) => {
      if (error === null) return resolve(results as QueryResult<Row>)
      // The error's own stack begins at the socket.
      Error.captureStackTrace(error)
      reject(toTold(error))
    })
    const { query_timeout: timeoutMs } = statement as { readonly query_timeout?: number }
    if (timeoutMs !== undefined) query.query_timeout = timeoutMs
    ;(client as unknown as FlyingClient).query(query)
  })
}

/** Members of `pg`'s client that are used here and missing from its types. */
interface FlyingClient {
  readonly connection: { readonly stream: Writable }
  query(query: BaseQuery): unknown
}

/** @throws LS_CONFIG_INVALID for a client that does not speak the protocol in JavaScript, such as `pg-native`'s */
export function assertFlights(client: PoolClient): void {
  flightQueryOf(client)
}

type Callback = (error: Error | null, results: QueryResult | QueryResult[]) => void

/** Members of `pg`'s connection that are used here, as its own cursors and streams use them. */
interface WireConnection {
  readonly stream: Writable
  readonly parsedStatements: Record<string, string>
  readonly submittedNamedStatements: Record<string, string>
  parse(statement: { text: string; name?: string }): void
  bind(portal: object): void
  describe(target: { type: 'P' | 'S'; name: string }): void
  execute(portal: { portal?: string; rows?: number }): void
  close(target: { type: 'P' | 'S'; name: string }): void
  flush(): void
  sync(): void
  sendCopyFail(message: string): void
}

/** Members of `pg`'s `Query` that a client calls. */
interface BaseQuery {
  name: string | undefined
  values: unknown[] | undefined
  query_timeout?: number
  requiresPreparation(): boolean
  prepare(connection: WireConnection): void
  handleCommandComplete(message: unknown, connection: WireConnection): void
  handleCopyInResponse(connection: WireConnection): void
}

type BaseQueryClass = new (config: string | QueryConfig, values: undefined, callback: Callback) => BaseQuery
type FlightQueryClass = new (flight: Flight, callback: Callback) => BaseQuery

/**
 * Query classes by the client's own class: an application may have another copy of `pg` than this file would import.
 */
const classes = new WeakMap<BaseQueryClass, FlightQueryClass>()

function flightQueryOf(client: PoolClient): FlightQueryClass {
  const { Query } = client.constructor as { readonly Query?: BaseQueryClass }
  if (typeof Query?.prototype.prepare !== 'function') {
    throw new LockstepError('LS_CONFIG_INVALID', {
      message: 'fromPool needs a pool of the `pg` package with its JavaScript client, not with `pg-native`.',
    })
  }
  const known = classes.get(Query)
  if (known !== undefined) return known
  const made = createFlightQuery(Query)
  classes.set(Query, made)
  return made
}

function createFlightQuery(Query: BaseQueryClass): FlightQueryClass {
  return class FlightQuery extends Query {
    readonly #flight: Flight
    #name: string | undefined
    #unanswered: number

    constructor(flight: Flight, callback: Callback) {
      const { statement } = flight
      const isPlain = hasOnlyTheUsual(statement)
      // A config is copied property by property, descriptors and all.
      super(isPlain ? statement.text : statement, undefined, callback)
      if (isPlain) {
        this.values = statement.values
        this.name = statement.name
        if (statement.types !== undefined) setTypes(this, statement.types)
      }
      this.#flight = flight
      this.#unanswered = flight.before.length
    }

    /** The simple protocol cannot share a Sync. */
    override requiresPreparation(): boolean {
      return true
    }

    override prepare(connection: WireConnection): void {
      const { before, after } = this.#flight
      for (const text of before) execute(connection, text)
      super.prepare(
        after.length === 0
          ? connection
          : new ExtendedConnection(connection, () => this.#sendAfter(connection)),
      )
      // The client takes the next ParseComplete for that of the statement with this name.
      if (this.#unanswered === 0) return
      this.#name = this.name
      this.name = undefined
    }

    #sendAfter(connection: WireConnection): void {
      const unsynced = new ExtendedConnection(connection)
      for (const each of this.#flight.after) {
        if (typeof each === 'string') {
          execute(connection, each)
          continue
        }
        let isSent = true
        const { text, values, types } = each
        const onUnsent = (): void => void (isSent = false)
        new Query({ text, values, types } as QueryConfig, undefined, onUnsent).prepare(unsynced)
        // No COMMIT may follow a statement whose values could not be written.
        if (!isSent) return execute(connection, 'rollback')
      }
    }

    override handleCommandComplete(message: unknown, connection: WireConnection): void {
      if (this.#unanswered === 0) {
        this.#flight.onStatement?.()
        return super.handleCommandComplete(message, connection)
      }
      if (this.#unanswered === this.#flight.before.length) this.#flight.onFirst?.()
      this.#unanswered -= 1
      if (this.#unanswered === 0) this.name = this.#name
    }

    /** The server has taken the Sync behind a COPY for a part of it, and waits for another one. */
    override handleCopyInResponse(connection: WireConnection): void {
      super.handleCopyInResponse(connection)
      connection.sync()
    }
  }
}

/** Sets the types as the constructor of a query does with those of its config. */
function setTypes(query: BaseQuery, types: unknown): void {
  Reflect.set(Reflect.get(query, '_result') as object, '_types', types)
}

const usual = new Set(['text', 'values', 'name', 'query_timeout', 'types'])

function hasOnlyTheUsual(statement: QueryConfig): boolean {
  for (const key in statement) if (!usual.has(key)) return false
  return true
}

function execute(connection: WireConnection, text: string): void {
  connection.parse({ text })
  connection.bind({})
  connection.execute({})
}

/**
 * The connection as a statement sees it. In place of its Sync further statements go out, and then the Sync, unless the
 * statement was not sent itself; without further ones there is no Sync at all.
 */
class ExtendedConnection implements WireConnection {
  readonly #connection: WireConnection
  readonly #sendAfter: (() => void) | undefined
  #isExecuted = false

  constructor(connection: WireConnection, sendAfter?: () => void) {
    this.#connection = connection
    this.#sendAfter = sendAfter
  }

  get stream(): Writable {
    return this.#connection.stream
  }

  get parsedStatements(): Record<string, string> {
    return this.#connection.parsedStatements
  }

  get submittedNamedStatements(): Record<string, string> {
    return this.#connection.submittedNamedStatements
  }

  parse(statement: { text: string; name?: string }): void {
    this.#connection.parse(statement)
  }

  bind(portal: object): void {
    this.#connection.bind(portal)
  }

  describe(target: { type: 'P' | 'S'; name: string }): void {
    this.#connection.describe(target)
  }

  execute(portal: { portal?: string; rows?: number }): void {
    this.#isExecuted = true
    this.#connection.execute(portal)
  }

  close(target: { type: 'P' | 'S'; name: string }): void {
    this.#connection.close(target)
  }

  flush(): void {
    this.#connection.flush()
  }

  sendCopyFail(message: string): void {
    this.#connection.sendCopyFail(message)
  }

  sync(): void {
    if (this.#sendAfter === undefined) return
    if (this.#isExecuted) this.#sendAfter()
    this.#connection.sync()
  }
}

import type { ErrorCode } from './error-catalogue.ts'

/** A SQL statement with its parameters, numbered `$1`, `$2`, … */
export interface Statement {
  readonly text: string
  readonly values?: readonly unknown[]
  /** Name of a statement that is sent often: drivers may prepare it. The text of a name is always the same. */
  readonly name?: string
  /** Texts among its values go as they are, also where the connection does not carry every character. */
  readonly isPlain?: true
}

/** A list of at least one statement. */
export type Statements = readonly [Statement, ...Statement[]]

export interface Rows<Row> {
  readonly rows: readonly Row[]
  /** Rows that the statement returned or changed. */
  readonly count: number
}

/** Sends Lockstep's own statements. Errors are `LockstepError`s, mapped from SQLSTATE. */
export interface Queryable {
  query<Row>(statement: Statement): Promise<Rows<Row>>
}

/** Client that user code gets for its own SQL: the promise form of `pg`'s `query`, on every driver. */
export interface SqlClient {
  // Rows are whatever the statement returns; pg's own default, so that code written for pg fits unchanged.
  // oxlint-disable-next-line typescript/no-explicit-any
  query<Row = any>(text: string, values?: readonly unknown[]): Promise<SqlResult<Row>>
}

export interface SqlResult<Row> {
  readonly rows: Row[]
  readonly rowCount: number | null
}

/** How a COMMIT ended, as far as this process could hear. */
export type CommitResult =
  /** `flushed` is what each statement of the flush answered. */
  | { readonly ending: 'committed'; readonly flushed: readonly Rows<unknown>[] }
  | { readonly ending: 'rolled_back'; readonly error: unknown }
  /** The connection died first: it may have committed, or may still commit. Only the outcome row can tell. */
  | { readonly ending: 'unknown'; readonly error: unknown }

export interface BeginOptions {
  /** Id of the operation, kept as the transaction-local setting `lockstep.operation`, which the flush asserts. */
  readonly operationId: string
  /** Default `read committed`, whatever the default of the database is. */
  readonly isolation?: Isolation | undefined
}

/** Isolation levels of an operation's transaction. */
export const isolations = ['read committed', 'repeatable read', 'serializable'] as const

/**
 * Isolation level of an operation's transaction. Above `read committed` a conflict with another transaction makes the
 * operation run again, and one with a commit on a channel that it emits to is such a conflict.
 */
export type Isolation = (typeof isolations)[number]

/** A statement of the user's code, or of a nested transaction, about a savepoint. */
export interface SavepointStatement {
  /** `undo` is ROLLBACK TO: the savepoint itself stays. */
  readonly verb: 'set' | 'release' | 'undo'
  /** Name of the savepoint, as Postgres keeps it. */
  readonly name: string
}

/**
 * Called with a statement about a savepoint when it is issued, and answers what to call once, when its answer is there.
 * A
 * statement that was not carried out, or not even sent, has moved nothing.
 */
export type SavepointWatch = (statement: SavepointStatement) => (isCarriedOut: boolean) => void

/**
 * A transaction that has begun, or begins with its first statement. `db` is what the user's code gets; it throws LS_TRANSACTION_CLOSED from `close`
 * on, so that a statement of code that still runs can never reach the connection after COMMIT or ROLLBACK.
 */
export interface OpenTransaction<Db> {
  readonly db: Db
  /** Epoch of the history on the transaction's connection. Absent where the database has no gate. */
  readonly epoch?: string | undefined
  /**
   * The first error of a statement, which made the database refuse all that follow, also where the code that sent it has
   * caught it. Undefined again after a rollback to a savepoint.
   */
  readonly failure: unknown
  /**
   * Tells of each savepoint, whoever sets it: an ORM, SQL by hand, `savepoint()`. Those of exception blocks in plpgsql begin
   * and end within one statement, in which no code of the operation runs, so there is nothing to tell.
   */
  watchSavepoints(watch: SavepointWatch): void
  /** Makes `db` throw from now on. Sends no statement. */
  close(): void
  /** `db` throws LS_SAVEPOINT_OPEN until the scope has ended. */
  savepoint(): Promise<SavepointScope<Db>>
  /**
   * Sends the statements of the flush in their order, and COMMIT behind them, in one flight where the driver can. Only the
   * first is prepared under its name. Never throws: see `CommitResult`.
   */
  commit(flush: Statements): Promise<CommitResult>
  /** Sends ROLLBACK and gives the connection back, or discards it. Never throws. */
  rollback(): Promise<void>
  /** Stops a statement that is running now, and discards the connection at `rollback`. Never throws. */
  cancel(): Promise<void>
}

export interface SavepointScope<Db> {
  readonly db: Db
  savepoint(): Promise<SavepointScope<Db>>
  /** Releases the savepoint; where a failed statement prevents that, rolls back to it and then throws. */
  release(): Promise<void>
  rollback(): Promise<void>
}

/** A read-only transaction in which every statement sees the same state (REPEATABLE READ). */
export interface Snapshot<Db> {
  readonly db: Db
  readonly own: Queryable
}

/** Does the work once it is its turn. */
export type TakeTurn = <T>(work: () => Promise<T>) => Promise<T>

/** A connection of its own, for features bound to a session, such as LISTEN. */
export interface DatabaseSession extends Queryable {
  /** Resolves to the reason when the connection has ended, whoever ended it. */
  readonly ended: Promise<string>
  onNotification(hear: (channel: string, payload: string) => void): void
  /** Ends it at once. Never throws. */
  destroy(): void
}

/** The last error by which the database told of its own state. */
export interface DatabaseTrouble {
  readonly code: ErrorCode
  readonly sqlState?: string
  readonly agoMs: number
}

/**
 * The history of the database that this process serves. A replica that was promoted, or a backup that was restored,
 * lacks the last commits from before: it is another history, and has another epoch.
 */
export interface HistoryGate {
  /** Current epoch; empty before any is known. */
  readonly epoch: string
  /**
   * Called once for each connection, over that connection, before its first use.
   * @returns the epoch of the history on it
   * @throws when it leads to a server that may not be used
   */
  admit(connection: Queryable): Promise<string>
  /** Calls back whenever another history has taken the place of the one before. */
  onChange(changed: () => void): void
}

/**
 * Operations that Lockstep needs of a database. Two drivers implement them, `fromPool` and `fromPglite`, and both pass
 * one conformance suite.
 */
export interface Database<Db> {
  readonly kind: 'postgres' | 'pglite'
  /** True where one session serves everything: while a transaction is open, every other statement waits for its end. */
  readonly singleSession: boolean
  /** Schema that Lockstep's tables live in. */
  readonly schema: string
  /** Lockstep's own statements, on connections that the user's transactions cannot exhaust. */
  readonly own: Queryable
  /** How many statements `own` takes at once. Absent where that is not known. */
  readonly ownConnections?: number
  /** Statements of the node's lease, on a connection that nothing else uses: no load may cost a node its lease. */
  readonly lease: Queryable
  /** Reads outside a transaction. */
  readonly db: Db
  /** How many transactions, snapshots and reads can hold a connection at once. */
  readonly connections: number
  /** Returns a `db` of which each statement takes its turn before it takes a connection. */
  reads(takeTurn: TakeTurn): Db
  /** Applies the migrations that are missing. @throws LS_SCHEMA_NEWER, LS_DATABASE_UNREACHABLE */
  migrate(): Promise<void>
  begin(options: BeginOptions): Promise<OpenTransaction<Db>>
  snapshot<T>(work: (snapshot: Snapshot<Db>) => Promise<T>): Promise<T>
  /** Hears when somebody but Lockstep takes a connection of the application's pool. For development. */
  watchPool?(hear: () => void): void
  /** The last error that told of the database's state, and not of what was asked, while it is fresh. */
  trouble?(): DatabaseTrouble | undefined
  /**
   * Sets the gate. From then on a connection is used only after the gate has admitted it, and only while the gate's
   * epoch is that of the history on it. Absent where there is one connection for good.
   */
  guard?(gate: HistoryGate): void
  /** Absent where several nodes cannot share the database. @throws LS_DATABASE_UNREACHABLE */
  openSession?(): Promise<DatabaseSession>
  close(): Promise<void>
}

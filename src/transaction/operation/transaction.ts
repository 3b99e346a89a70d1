import type { Channel, DraftHandle, EventDataOf, EventSchemas, Mode, UserContext } from '../../core/index.ts'

/** Handle that an operation's code works with. Ends with the operation: afterwards every call throws. */
export interface Transaction<Db, User extends UserContext = UserContext> {
  /** The user's SQL, inside the operation's transaction. */
  readonly db: Db
  readonly operationId: string
  readonly user: User
  /** Aborts when the operation is cancelled, has reached its time limit, or the node ends. */
  readonly signal: AbortSignal
  /** How the operation is rolled out for this user. */
  readonly mode: Mode
  /**
   * Buffers an event; it leaves after the COMMIT, or never: also when it was emitted after a savepoint, of yours or of an
   * ORM, that is rolled back. In the modes `off` and `observe` it leaves at once, has no place in the log, and is not
   * taken back; the COMMIT then appends one entry to its channel that no client is shown, so that the head moves.
   * @throws LS_CHANNEL_INVALID, LS_EVENT_UNKNOWN, LS_EVENT_INVALID, LS_EVENT_TOO_LARGE, LS_TRANSACTION_CLOSED;
   * LS_OPERATION_TOO_LARGE beyond 10,000 events, or 16 MiB of their data, in one operation
   */
  emit<Events extends EventSchemas, Type extends keyof Events & string>(
    channel: Channel<Events>,
    type: Type,
    data: EventDataOf<Events, Type>,
  ): void
  /**
   * A nested transaction: joins this one by a savepoint. When `work` throws, or has swallowed the error of a
   * statement, what was done since it began is undone, statements, events and hooks alike, through whichever handle, and
   * the error is thrown on. One at a time.
   * @throws LS_SAVEPOINT_OPEN, LS_TRANSACTION_CLOSED
   */
  transaction<T>(work: (tx: Transaction<Db, User>) => Promise<T>): Promise<T>
  /**
   * Runs after the COMMIT, on this node, at most once: it is lost when the process dies first. The reply does not wait for
   * it. After 10 s the next hook begins beside it; what fails or takes longer is logged.
   */
  afterCommit(work: () => void | Promise<void>): void
  /** Runs after a rollback, otherwise as `afterCommit`. */
  afterRollback(work: () => void | Promise<void>): void
  /**
   * Starts a run of a task: it begins if, and only if, this operation commits.
   * @returns the run, which can be returned as it is
   * @throws LS_INPUT_INVALID, LS_TRANSACTION_CLOSED, LS_CONFIG_INVALID for what is no task
   */
  start<Input, Ref>(task: Startable<Db, Input, Ref>, input: Input, options?: RunStart): Ref
  /**
   * Shows chunks to whoever listens to the channel, before the COMMIT. They end with it: by the event that the operation emits
   * there, or by `draft.committed`; a rollback retracts them on every screen.
   * @throws LS_CHANNEL_INVALID, LS_DRAFT_UNKNOWN, LS_TRANSACTION_CLOSED; LS_CONFIG_INVALID with `intent: false`
   */
  draft<Drafts extends EventSchemas, Name extends keyof Drafts & string>(
    channel: Channel<EventSchemas, Drafts>,
    name: Name,
  ): DraftHandle<EventDataOf<Drafts, Name>>
}

/** Options of a start within an operation. */
export interface RunStart {
  /** UUID. A new one when absent. */
  readonly id?: string
  /** Earliest time at which it begins. */
  readonly startAt?: Date
}

/** A declared task, as the operation sees it that starts a run of it. */
export interface Startable<Db, Input, Ref> {
  startIn(tx: Transaction<Db>, input: Input, options?: RunStart): Ref
}

import {
  assertChannel,
  assertOperationId,
  assertOptions,
  assertWholeNumbers,
  DeclaredRefusals,
  describeGiven,
  isOperationId,
  LockstepError,
  newOperationId,
  userChannel,
  validate,
  validateSync,
  type Channel,
  type InputOf,
  type Jsonify,
  type OutputOf,
  type RefusalOf,
  type RefusalSchemas,
  type Schema,
  type UserContext,
} from '../core/index.ts'
import { databaseErrorCode, toLockstepError, type NewRun } from '../postgres/index.ts'
import { declaredRefusalOf, type RunRef } from '../protocol/index.ts'
import { toUser, type OperationHost } from '../operations/index.ts'
import {
  handleIn,
  toEventJson,
  type EndedOperation,
  type RollbackOptions,
  type Transaction,
} from '../transaction/index.ts'
import type { RunContext, RunnableTask } from './execution/runnable-task.ts'
import { fromKept } from './model/kept-value.ts'
import { defaultRetry, type Retry } from './model/retry-rules.ts'
import type { Runs } from './runs.ts'
import type { DraftsOf, RunEnd } from './task-types.ts'
import { TaskStart, type AddedRun, type StartCall } from './task-start.ts'
import {
  endedShape,
  serverStartShape,
  startShape,
  taskShape,
  type EndedOptions,
  type ServerStart,
  type StartOptions,
  type DraftSchemasOf,
  type Steps,
  type TaskOptions,
} from './task-options.ts'

/** Services of the instance that a task belongs to. */
export interface TaskHost<Db> {
  readonly runs: Runs<Db>
  readonly operations: OperationHost<Db>
  /** Settles once the node can serve. */
  ready(): Promise<void>
}

/** A declared kind of long work. Each execution of it is a run. */
export class Task<
  Name extends string,
  Db,
  User extends UserContext,
  In extends Schema,
  Result,
  Refusals extends RefusalSchemas,
  P extends Schema,
  Ch extends Channel | undefined,
> implements RunnableTask {
  readonly kind = 'task'
  /** Clients know its runs. */
  readonly internal = false
  /** Clients start none. */
  readonly isServerOnly: boolean
  readonly name: Name
  readonly #options: TaskOptions<Db, User, In, Result, Refusals, P, Ch>
  readonly #host: TaskHost<Db>
  readonly #refusals: DeclaredRefusals<Refusals>
  readonly #start: TaskStart<Db, User, In, Refusals>
  /** Carries the types to `AppOf`; never set. */
  declare readonly types: {
    readonly input: InputOf<In>
    readonly result: Jsonify<Result>
    readonly refusal: RefusalOf<Refusals>
    readonly drafts: DraftsOf<Ch>
    readonly progress: unknown extends OutputOf<P> ? undefined : Jsonify<OutputOf<P>>
  }

  constructor(name: Name, options: TaskOptions<Db, User, In, Result, Refusals, P, Ch>, host: TaskHost<Db>) {
    assertOptions(`task "${name}"`, options, taskShape, `lockstep.task("${name}", { input, run })`)
    const { timeoutMs, retry } = options
    assertWholeNumbers({ timeoutMs, 'retry.attempts': retry?.attempts })
    const { backoffMs, maxBackoffMs } = retry ?? {}
    assertWholeNumbers({ 'retry.backoffMs': backoffMs, 'retry.maxBackoffMs': maxBackoffMs }, { least: 0 })
    this.name = name
    this.isServerOnly = options.authorize === undefined
    this.#options = options
    this.#host = host
    this.#refusals = new DeclaredRefusals(name, options.refusals ?? ({} as Refusals), 'task')
    const { input, authorize, refusals, failure } = options
    const add = (tx: Transaction<Db, User>, run: AddedRun<OutputOf<In>>): RunRef => this.#add(tx, run)
    const start = {
      input,
      add,
      ...(authorize === undefined ? {} : { authorize }),
      ...(refusals === undefined ? {} : { refusals }),
      ...(failure === undefined ? {} : { rollback: failure }),
    }
    this.#start = new TaskStart(name, start, host.operations)
  }

  get retry(): Retry {
    return this.#options.retry ?? defaultRetry
  }

  get onStop(): 'keep' | 'discard' {
    return this.#options.onStop ?? 'keep'
  }

  get hasChannel(): boolean {
    return this.#options.channel !== undefined
  }

  get isParallel(): boolean {
    return this.#options.parallel ?? false
  }

  get failure(): RollbackOptions {
    return this.#options.failure ?? {}
  }

  /**
   * Starts a run by an operation of its own, whose id is that of the run. The same id starts one run.
   * @throws LS_CONFIG_INVALID for options that are unknown or missing; LS_INPUT_INVALID, LS_FORBIDDEN, and what else means
   * "not accepted"; what made the start roll back; LS_OUTCOME_PENDING
   */
  async start(value: InputOf<In>, options: ServerStart<User>): Promise<RunRef<Name>> {
    const hint = `${this.name}.start(input, { user })`
    assertOptions(`the start of "${this.name}"`, options, serverStartShape, hint)
    const { id = newOperationId(), startAt, user } = options as unknown as ServerStart
    const { outcome, error } = await this.#start.execute({ id, user: toUser(user), given: value, startAt })
    if (outcome.outcome === 'committed') return { id, task: this.name }
    // A run of another user has the id.
    if (databaseErrorCode(error) === 'LS_OPERATION_ID_REUSED') throw toLockstepError(error)
    throw error ?? new LockstepError('LS_OPERATION_FAILED', { details: { notice: outcome.notice } })
  }

  /** Starts a run for a client. @throws as the call of an operation */
  execute({
    input,
    ...call
  }: Omit<StartCall, 'given'> & { readonly input: unknown }): Promise<EndedOperation<RunRef>> {
    return this.#start.execute({ ...call, given: input })
  }

  /** Starts a run for `tx.start`: it begins if the operation commits. @throws LS_INPUT_INVALID, LS_CONFIG_INVALID */
  startIn(tx: Transaction<Db>, value: InputOf<In>, options: StartOptions = {}): RunRef<Name> {
    const hint = 'tx.start(task, input, { id, startAt })'
    assertOptions(`the start of "${this.name}"`, options, startShape, hint)
    const { id, startAt } = options
    if (id !== undefined) assertOperationId(id)
    const input = validateSync(this.#schema, value, 'LS_INPUT_INVALID', `input of ${this.name}`)
    const handle = handleIn(tx, this.#host.runs.part)
    return this.#add(tx, { id: id ?? handle.nextRunId(), input, given: value, user: tx.user, startAt })
  }

  /**
   * Stops a run. Resolves when the stop is durable: no step begins any more, except the one that commits what its work had.
   * A run that has ended stays as it is.
   * @throws LS_RUN_UNKNOWN, database errors
   */
  async stop(run: string | RunRef): Promise<void> {
    await this.#host.ready()
    await this.#host.runs.stop(this.#idOf(run), this.name)
  }

  /**
   * Resolves when the run has ended.
   * @throws LS_RUN_UNKNOWN; LS_NODE_STOPPING; LS_CONFIG_INVALID; the reason of the signal, once it aborts
   */
  async ended(
    run: string | RunRef,
    options: EndedOptions = {},
  ): Promise<RunEnd<Jsonify<Result>, RefusalOf<Refusals>>> {
    assertOptions(`the end of "${this.name}"`, options, endedShape, `${this.name}.ended(run, { signal })`)
    await this.#host.ready()
    const id = this.#idOf(run)
    const row = await this.#host.runs.ended(id, options.signal)
    if (row.task !== this.name) throw this.#unknown(id, row.task)
    if (row.state === 'completed')
      return { state: row.state, result: fromKept(row.result) as Jsonify<Result> }
    if (row.state === 'failed' || row.state === 'timeout' || row.state === 'dead') {
      if (row.notice !== null) {
        const refusal = declaredRefusalOf(row.notice) as RefusalOf<Refusals> | undefined
        return { state: row.state, notice: row.notice, refusal }
      }
    }
    return { state: 'cancelled' }
  }

  /** Runs the code of an attempt. @throws what it throws; LS_INPUT_INVALID for an input that the schema refuses by now */
  async run({ input: stored, user, runId, step, signal }: RunContext): Promise<unknown> {
    const input = await validate(this.#schema, stored, 'LS_INPUT_INVALID', `input of ${this.name}`)
    const channel = this.#channelOf(input, user)
    step.showOn(channel)
    try {
      return await this.#options.run({
        input,
        user: user as User,
        runId,
        channel: channel as Ch,
        step: step as unknown as Steps<Db, User, InputOf<P>, DraftSchemasOf<Ch>>,
        refuse: this.#refusals.refuse,
        signal,
      })
    } catch (error) {
      throw this.#refusals.adopt(error)
    }
  }

  /**
   * Whether the user may stop a run of another one; undefined where the task does not say.
   * @param stored the input of the run
   * @throws errors of the check
   */
  async mayStop(stored: unknown, user: UserContext, startedBy: string): Promise<boolean | undefined> {
    const { canControl } = this.#options
    if (canControl === undefined) return undefined
    const input = await validate(this.#schema, stored, 'LS_INPUT_INVALID', `input of ${this.name}`)
    const question = { input, user: user as User, startedBy, action: 'stop' } as const
    // Code without types may answer anything.
    const answer: unknown = await this.#host.operations.scope.check(user, (db) =>
      canControl({ ...question, db }),
    )
    return answer === true
  }

  toProgress(value: unknown): string {
    const { progress } = this.#options
    const what = `progress of ${this.name}`
    return toEventJson(
      progress === undefined ? value : validateSync(progress, value, 'LS_EVENT_INVALID', what),
      what,
    )
  }

  get #schema(): Schema<unknown, OutputOf<In>> {
    return this.#options.input
  }

  #add(tx: Transaction<Db>, { id, input, given, user, startAt }: AddedRun<OutputOf<In>>): RunRef<Name> {
    const { onNodeDeath = 'retry', timeoutMs = null } = this.#options
    const run: NewRun = {
      id,
      task: this.name,
      user,
      channel: this.#channelOf(input, user)?.name ?? userChannel(user.id),
      // The input as it was given: the schema reads it again in each attempt.
      input: toEventJson(given, this.name),
      onNodeDeath,
      timeoutMs,
      startAt,
    }
    handleIn(tx, this.#host.runs.part).start(run)
    return { id, task: this.name }
  }

  #channelOf(input: OutputOf<In>, user: UserContext): Channel | undefined {
    const { channel } = this.#options
    if (channel === undefined) return undefined
    const found = channel({ input, user: user as User })
    assertChannel(found, `channel of task "${this.name}"`)
    return found
  }

  /** @throws LS_RUN_UNKNOWN */
  #idOf(run: unknown): string {
    const { id, task } = typeof run === 'string' ? { id: run, task: this.name } : (run as Partial<RunRef>)
    if (isOperationId(id) && task === this.name) return id
    throw this.#unknown(id === undefined ? describeGiven(run) : JSON.stringify(id), task)
  }

  /** @param task the one that the run belongs to, as far as is known */
  #unknown(run: string, task: unknown): LockstepError {
    const whose = task === this.name ? '' : `: that is one of "${String(task)}"`
    return new LockstepError('LS_RUN_UNKNOWN', {
      message: `Task "${this.name}" has no run ${run}${whose}.`,
    })
  }
}

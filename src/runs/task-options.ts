import {
  aFlag,
  aFunction,
  aNumber,
  anything,
  aSchema,
  aSignal,
  nested,
  oneOf,
  required,
  type Caller,
  type Channel,
  type DraftHandle,
  type EventDataOf,
  type EventSchemas,
  type Expectation,
  type InputOf,
  type Jsonify,
  type NoEvents,
  type NoRefusals,
  type OutputOf,
  type RefusalSchemas,
  type Refuse,
  type Schema,
  type Shape,
  type UserContext,
} from '../core/index.ts'
import { refusalsExpectation, userExpectation, type AuthorizeQuestion } from '../operations/index.ts'
import { rollbackExpectation, type RollbackOptions, type Transaction } from '../transaction/index.ts'
import type { Ending, WorkContext as UntypedWorkContext } from './execution/step-plan.ts'
import type { OnNodeDeath } from './model/run-decisions.ts'
import type { Retry } from './model/retry-rules.ts'
import type { StepName } from './model/step-name.ts'

/** Drafts that a channel declares. */
export type DraftSchemasOf<Ch> =
  Ch extends Channel<EventSchemas, infer Drafts>
    ? string extends keyof Drafts
      ? NoEvents
      : Drafts
    : NoEvents

/** Context of the work of a step, with the drafts of its task's channel. */
export interface WorkContext<Drafts extends EventSchemas = NoEvents> extends Omit<
  UntypedWorkContext,
  'draft' | 'previous'
> {
  /**
   * Shows chunks to whoever listens to the channel of the run: they end with the commit of the step, and are retracted where it fails.
   * @throws LS_DRAFT_UNKNOWN, LS_DRAFT_NOWHERE
   */
  readonly draft: <Name extends keyof Drafts & string>(name: Name) => DraftHandle<EventDataOf<Drafts, Name>>
  /**
   * Chunks that this step had shown in the newest earlier attempt that showed any, whatever ended it: a death, a deploy or a throw. Screens do
   * not show them unless this attempt appends them again.
   */
  readonly previous: <Name extends keyof Drafts & string>(name: Name) => readonly EventDataOf<Drafts, Name>[]
}

/** A step with work outside of any transaction, and a commit. Write `work` first: its type is that of `value`. */
export interface StepOptions<
  Db,
  User extends UserContext,
  Worked,
  Result,
  Drafts extends EventSchemas = NoEvents,
> {
  /** Runs outside of any transaction, at least once: calls of models and payment providers go here. */
  readonly work: (context: WorkContext<Drafts>) => Promise<Worked>
  /** Runs in one transaction, exactly once: rows, events and the result of the step. */
  readonly commit: (tx: Transaction<Db, User>, value: Worked, ending: Ending) => Promise<Result>
  /**
   * Longest time that `work` may take, and each try of `commit`, in milliseconds; then the step counts as one that threw.
   * Default: `work` as long as its run, `commit` 30,000.
   */
  readonly timeoutMs?: number
  /** Default: that of the task. */
  readonly retry?: Retry
}

/** Steps of a run. Each is known by its name, and committed at most once; what has committed is answered from its row. */
export interface Steps<Db, User extends UserContext, Progress, Drafts extends EventSchemas = NoEvents> {
  /**
   * Work outside of a transaction, then its commit. What it returns is kept, and given back as JSON has it.
   * @throws the last error of the step; LS_STEP_REPEATED, LS_STEP_NESTED, LS_STEP_OUTSIDE_RUN, LS_STEP_RESULT_INVALID,
   * LS_RESULT_TOO_LARGE, LS_RUN_CODE_CHANGED, LS_CONFIG_INVALID
   */
  do<Worked>(
    name: StepName,
    work: (context: WorkContext<Drafts>) => Promise<Worked>,
  ): Promise<Jsonify<Worked>>
  do<Worked, Result>(
    name: StepName,
    step: StepOptions<Db, User, Worked, Result, Drafts>,
  ): Promise<Jsonify<Result>>
  /** Runs a transaction alone. Wait for nothing but the database in it. @throws as `do` */
  commit<Result>(
    name: StepName,
    commit: (tx: Transaction<Db, User>) => Promise<Result>,
  ): Promise<Jsonify<Result>>
  /**
   * The newest value reaches whoever listens to the run's channel, at most four times a second, and is kept with the run.
   * @throws LS_EVENT_INVALID for what the task's schema refuses, LS_EVENT_TOO_LARGE
   */
  progress(value: Progress): void
}

/** Context of a task's code, which begins at its first line in each attempt. */
export interface TaskContext<
  Db,
  User extends UserContext,
  Input,
  Progress,
  Ch,
  Refusals extends RefusalSchemas = NoRefusals,
> {
  readonly input: Input
  /** The user who started the run, as the start has named it. */
  readonly user: User
  readonly runId: string
  /** Channel on which the run is shown; undefined where the task names none, and it is that of its user. */
  readonly channel: Ch
  readonly step: Steps<Db, User, Progress, DraftSchemasOf<Ch>>
  /** Makes a refusal of a code that the task declares, to be thrown: the run fails with it. @throws LS_REFUSAL_INVALID */
  readonly refuse: Refuse<Refusals>
  /** Aborts when the run is stopped or lost, its time is over, or the node stops. */
  readonly signal: AbortSignal
}

/** Question of whether somebody else than the one who has started a run may stop it. */
export interface ControlQuestion<Db, Input, User extends UserContext = UserContext> {
  readonly input: Input
  /** The user who asks. */
  readonly user: User
  /** Id of the user who has started the run. */
  readonly startedBy: string
  readonly action: 'stop'
  /** Database for reads. */
  readonly db: Db
}

export interface TaskOptions<
  Db,
  User extends UserContext,
  In extends Schema,
  Result,
  Refusals extends RefusalSchemas,
  P extends Schema,
  Ch extends Channel | undefined,
> {
  readonly input: In
  /**
   * Clients start the task only where this is given. Asked before each start, also by `task.start` on the server, and not
   * by `tx.start`, whose operation has been asked. Only `true` lets it through.
   */
  readonly authorize?: (question: AuthorizeQuestion<Db, OutputOf<In>, User>) => boolean | Promise<boolean>
  /**
   * Whether a user may stop a run that another one has started. Only `true` is a yes. Default: whoever may subscribe to its
   * channel.
   */
  readonly canControl?: (question: ControlQuestion<Db, OutputOf<In>, User>) => boolean | Promise<boolean>
  /** Refusals by code, each with the schema of its data, or `null` where there is none. */
  readonly refusals?: Refusals
  /** Words for the user when a run ends without its result. */
  readonly failure?: RollbackOptions
  /** How often a step may throw. Default: 3 attempts, pauses from 500 ms up to 30 s. */
  readonly retry?: Retry
  /** Longest time that a run may take, in milliseconds, without the time in which it waits. Default: any. */
  readonly timeoutMs?: number
  /** Value of the work that a stop ends early: `keep` commits it, `discard` does not. Default `keep`. */
  readonly onStop?: 'keep' | 'discard'
  /**
   * A run whose node dies: `retry` goes on with another attempt on any node, `fail` ends it as `dead`. `keep` goes on as `retry` does, and
   * commits the text that a step had shown in its one draft, with `stopped: true`, without its work. Default `retry`.
   */
  readonly onNodeDeath?: OnNodeDeath
  /** Steps may be in flight side by side. Without it a new step waits until every committed one has been asked for. */
  readonly parallel?: boolean
  readonly progress?: P
  /** Channel on which the run is shown. Default: the channel of its user. */
  readonly channel?: (question: { readonly input: OutputOf<In>; readonly user: User }) => Ch & Channel
  readonly run: (context: TaskContext<Db, User, OutputOf<In>, InputOf<P>, Ch, Refusals>) => Promise<Result>
}

const retryShape: Shape<Retry> = { attempts: required(aNumber), backoffMs: aNumber, maxBackoffMs: aNumber }

/** Shape of the options, for the checks of what is given. */
export const taskShape: Shape<
  TaskOptions<never, UserContext, Schema, unknown, RefusalSchemas, Schema, Channel>
> = {
  input: required(aSchema),
  authorize: aFunction,
  canControl: aFunction,
  refusals: refusalsExpectation,
  failure: rollbackExpectation,
  retry: nested(retryShape, 'Write retry: { attempts: 3 }.'),
  timeoutMs: aNumber,
  onStop: oneOf(['keep', 'discard']),
  onNodeDeath: oneOf(['retry', 'keep', 'fail']),
  parallel: aFlag,
  progress: aSchema,
  channel: aFunction,
  run: required(aFunction),
}

/** Options of the start of a run. */
export interface StartOptions {
  /** UUID; the idempotency key. A new one when absent. */
  readonly id?: string
  /** Earliest time at which it begins. */
  readonly startAt?: Date
}

/** Options of a start by itself, outside of an operation. */
export interface ServerStart<User extends UserContext = UserContext> extends StartOptions {
  /** User of the run, who gets its notice. */
  readonly user: Caller<User>
}

const aDate: Expectation = {
  expected: 'a Date',
  fits: (value) => value instanceof Date && !Number.isNaN(value.getTime()),
}

/** Shape of the options of `tx.start`. */
export const startShape: Shape<StartOptions> = {
  // Has an error of its own.
  id: anything,
  startAt: aDate,
}

/** Shape of the options of `task.start`. */
export const serverStartShape: Shape<ServerStart> = { ...startShape, user: userExpectation }

/** Options of `task.ended`. */
export interface EndedOptions {
  /** Gives up waiting; the run goes on. `AbortSignal.timeout(ms)` sets a limit. */
  readonly signal?: AbortSignal
}

export const endedShape: Shape<EndedOptions> = { signal: aSignal }

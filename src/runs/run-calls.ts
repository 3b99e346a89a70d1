import {
  assertOperationId,
  isLockstepError,
  isOperationId,
  LockstepError,
  lockstepErrorIn,
  type ErrorCode,
  type Moment,
  type UserContext,
} from '../core/index.ts'
import type { RunReportRow, OpenRunRow } from '../postgres/index.ts'
import {
  phaseOf,
  reservedMethods,
  type FoundRun,
  type OngoingRun,
  type Outcome,
  type RunReport,
  type StreamPosition,
} from '../protocol/index.ts'
import { hashInput } from '../operations/index.ts'
import { handleIn, type Claim, type EndedOperation, type OperationRequest } from '../transaction/index.ts'
import { fromKept } from './model/kept-value.ts'
import { effectOfStop } from './model/run-decisions.ts'
import type { RunStore, StoredRun } from './store/run-store.ts'
import type { RunsPart } from './store/runs-part.ts'
import type { Tasks } from './tasks.ts'

export interface RunCallsOptions<Db> {
  readonly store: RunStore
  readonly tasks: Tasks
  readonly part: RunsPart
  /** Carries out an operation. */
  readonly run: <Result>(request: OperationRequest<Db, Result>) => Promise<EndedOperation<Result>>
  /** Finds the end of an earlier call that was accepted, if there was one. */
  readonly recall: (id: string, claim: Claim) => Promise<EndedOperation<unknown> | undefined>
  readonly earliestArrival: () => Moment
  /** Resolves where the user may subscribe to the channel. @throws as a subscription is refused */
  readonly authorizeSubscription: (user: UserContext, channel: string) => Promise<void>
}

/** The stop of a run, as a client asks for it. */
export interface StopCall {
  /** Id of the stop, which is an operation. */
  readonly id: string
  readonly runId: unknown
  readonly user: UserContext
  /** The id may have been sent before. */
  readonly repeat: boolean
}

/** Codes by which a subscription is refused: the user may not look at the run either. */
const subscriptionRefusals: ReadonlySet<ErrorCode> = new Set([
  'LS_CHANNEL_FORBIDDEN',
  'LS_CHANNEL_UNKNOWN',
  'LS_CHANNEL_NAME_INVALID',
])

/**
 * Answers clients who ask for runs, and who stop them. Whoever may subscribe to the channel of a run may look at it. Who has started it may stop
 * it, and others where the task's `canControl` says so, or, without one, where they may look. To all others there is no such run.
 */
export class RunCalls<Db> {
  readonly #options: RunCallsOptions<Db>

  constructor(options: RunCallsOptions<Db>) {
    this.#options = options
  }

  /**
   * Stops a run by an operation, whose result is the state that it found.
   * @throws LS_OPERATION_ID_INVALID, LS_RUN_UNKNOWN, LS_FORBIDDEN, and what else means "not accepted"; LS_OUTCOME_PENDING
   */
  async stop({ id, runId: asked, user, repeat }: StopCall): Promise<Outcome<FoundRun>> {
    const { store, part, run: execute, recall, earliestArrival } = this.#options
    const since = earliestArrival()
    assertOperationId(id)
    const runId = toRunId(asked)
    const name = reservedMethods.stopRun
    const inputHash = hashInput(name, { runId })
    try {
      await this.#authorizeStop(user, await store.read(runId), runId)
    } catch (refusal) {
      // The first of two copies may have been accepted before its user lost the right.
      const earlier = await recall(id, { userId: user.id, inputHash })
      if (earlier === undefined) throw refusal
      return earlier.outcome as Outcome<FoundRun>
    }
    const { outcome } = await execute<FoundRun>({
      id,
      name,
      since,
      user,
      inputHash,
      rollback: { userMessage: 'It could not be stopped.' },
      intent: true,
      repeat,
      work: async (tx) => {
        // Look anew in each attempt: the one before has met another state.
        const run = await store.read(runId)
        if (run === undefined) throw unknown(runId)
        const { state, isStopRequested } = run.facts
        if (effectOfStop(run.facts) !== 'hasEnded' && !isStopRequested) handleIn(tx, part).stop(run)
        return { runId, task: run.task, state, phase: phaseOf(state) }
      },
    })
    return outcome
  }

  /** @throws LS_INPUT_INVALID, LS_RUN_UNKNOWN, LS_FORBIDDEN, database errors */
  async get(asked: unknown, user: UserContext): Promise<RunReport> {
    const runId = toRunId(asked)
    const row = await this.#options.store.report(runId)
    if (row === undefined) throw unknown(runId)
    if (await this.#mayLook(user, row.channel)) return toReport(row)
    throw row.user_id === user.id ? forbidden(runId) : unknown(runId)
  }

  /**
   * The open runs of a channel.
   * @throws LS_INPUT_INVALID, and as a subscription to the channel is refused
   */
  async list(
    channel: unknown,
    user: UserContext,
  ): Promise<{ readonly runs: readonly OngoingRun[]; readonly position: StreamPosition }> {
    if (typeof channel !== 'string')
      throw new LockstepError('LS_INPUT_INVALID', { message: 'channel: expected the name of a channel' })
    await this.#options.authorizeSubscription(user, channel)
    const { runs, position } = await this.#options.store.openIn(channel)
    return { runs: runs.map(toOngoingRun), position }
  }

  async #authorizeStop(user: UserContext, run: StoredRun | undefined, runId: string): Promise<void> {
    if (run === undefined) throw unknown(runId)
    if (run.userId === user.id) return
    const answer = await this.#answerOf(user, run)
    if (answer === true) return
    const mayLook = await this.#mayLook(user, run.channel)
    if (answer === undefined && mayLook) return
    throw mayLook ? forbidden(runId) : unknown(runId)
  }

  /** The answer of the task, undefined where it does not say; no where this node has no such task. */
  async #answerOf(user: UserContext, run: StoredRun): Promise<boolean | undefined> {
    const task = this.#options.tasks.find(run.task)
    if (task === undefined) return false
    try {
      return await task.mayStop(run.input, user, run.userId)
    } catch (error) {
      // ORMs wrap what they get, and a refusal is one all the same. An input that the schema refuses by now is not told.
      const known = lockstepErrorIn(error)
      if (known?.code === 'LS_FORBIDDEN' || known?.code === 'LS_INPUT_INVALID') return false
      throw error
    }
  }

  async #mayLook(user: UserContext, channel: string): Promise<boolean> {
    try {
      await this.#options.authorizeSubscription(user, channel)
      return true
    } catch (error) {
      if (isLockstepError(error) && subscriptionRefusals.has(error.code)) return false
      throw error
    }
  }
}

/** @throws LS_INPUT_INVALID */
function toRunId(value: unknown): string {
  if (isOperationId(value)) return value
  throw new LockstepError('LS_INPUT_INVALID', {
    message: 'runId: expected the id of a run, a UUID in lower case',
  })
}

function unknown(run: string): LockstepError {
  return new LockstepError('LS_RUN_UNKNOWN', { details: { run } })
}

function forbidden(run: string): LockstepError {
  return new LockstepError('LS_FORBIDDEN', { details: { run } })
}

function toOngoingRun({ id, task, user_id: startedBy, state, attempt, progress }: OpenRunRow): OngoingRun {
  const facts = { runId: id, task, state, phase: phaseOf(state), attempt, startedBy, waits: [] }
  return { ...facts, progress: fromKept(progress) ?? null }
}

function toReport(row: RunReportRow): RunReport {
  const { channel, steps, result, notice } = row
  return {
    ...toOngoingRun(row),
    channel,
    steps,
    ...(result === null ? {} : { result: fromKept(result) }),
    ...(notice === null ? {} : { notice }),
  }
}

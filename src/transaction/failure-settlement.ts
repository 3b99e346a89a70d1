import { faultPoint } from '../core/fault-point.ts'
import { coordinationEvents, type Notice, type Outcome } from '../protocol/index.ts'
import {
  detach,
  isLockstepError,
  LockstepError,
  messageOf,
  noOffsets,
  userChannel,
  type Clock,
  type Logger,
  type Probe,
  type Queryable,
  type UserContext,
} from '../core/index.ts'
import type { StoredEvent, TransientEvent } from '../events/index.ts'
import type { AttemptEnding } from './attempt.ts'
import { readFoundEvents, type FoundCommit } from './found-commit.ts'
import type { HookRunner } from './hook-runner.ts'
import { createNotice, type RollbackOptions } from './notice.ts'
import type { OpenOperation } from './open-operation.ts'
import type { SettledOperation, Settler } from './settlement.ts'
import type { StoredOutcomes } from './stored-outcomes.ts'

/** What a settlement needs to know of an operation. */
export interface RequestFacts {
  readonly id: string
  readonly name: string
  readonly user: UserContext
  readonly rollback: RollbackOptions
  /** The id may have been sent before: while the database is away, no answer is then given from memory. */
  readonly repeat?: boolean | undefined
}

/** The outcome, and for the caller in this process what a user must not see. */
export interface Ended<Result> {
  readonly outcome: Outcome<Result>
  /** What made it roll back; absent when committed, or when the outcome was replayed. */
  readonly error?: unknown
}

export interface FailureOptions {
  readonly settler: Settler
  readonly outcomes: StoredOutcomes
  readonly clock: Clock
  readonly logger: Logger
  readonly probe: Probe
  /** Takes committed events to their subscribers. */
  readonly announce: (events: readonly StoredEvent[], epoch: string) => void
  readonly database: { readonly own: Queryable; readonly schema: string }
  readonly hooks: HookRunner
  /** Shows what is in no log, such as a notice that could not be made durable yet. */
  readonly announceTransient: (event: TransientEvent) => void
  /** How long a caller waits for an outcome that is not known yet, before it is told so. Default 5,000. */
  readonly pendingAfterMs?: number
  /** Ends the search for outcomes that are not known. */
  readonly giveUp: AbortSignal
}

type Failed = Extract<AttemptEnding<unknown>, { ending: 'rolled_back' | 'unknown' }>

/** Takes operations that did not commit, as far as this process could hear, to their outcome, and tells their users. */
export class FailureSettlement {
  readonly #options: FailureOptions

  constructor(options: FailureOptions) {
    this.#options = options
  }

  /** Makes the rollback, or finds the ending of a COMMIT whose reply was lost. */
  async settle(
    request: RequestFacts,
    operation: OpenOperation<Ended<unknown>>,
    failed: Failed,
  ): Promise<Ended<unknown>> {
    const { error, code, affectedLayers } = failed
    const failedAt = this.#options.clock.monotonic()
    this.#options.logger.error(
      {
        operationId: request.id,
        operation: request.name,
        user: request.user,
        code,
        ending: failed.ending,
        error,
      },
      'an operation failed',
    )
    const notice = createNotice({ ...named(request), code, affectedLayers })
    await faultPoint('transaction.before-notice')
    const settled =
      failed.ending === 'rolled_back'
        ? await this.#settleRolledBack(request, operation, notice, error)
        : await this.orPending(operation, () => this.#settleUntilKnown(operation, notice))
    await faultPoint('transaction.after-notice')
    // This copy did not commit: another one did, whose node has counted it, and runs its hooks.
    const isAnothers =
      settled.state === 'committed' && (failed.ending === 'rolled_back' || settled.isAnothers === true)
    if (!isAnothers) this.#report(operation, settled, failedAt)
    if (!isAnothers && settled.state === 'committed' && failed.ending === 'unknown') {
      const announced = this.#announceFound(
        request,
        { emitted: failed.events, offsets: settled.offsets },
        settled.epoch,
      )
      detach(announced, this.#options.logger, 'the delivery of a commit that was found out')
    }
    const ending = isAnothers ? 'rolled_back' : settled.state
    const facts = { operationId: request.id, operation: request.name, ending }
    this.#options.hooks.run(failed.hooksOf(ending), facts)
    return this.#toEnded(request, settled, notice, error)
  }

  /** Where this fails, the comparison of heads finds the events a little later. */
  async #announceFound({ id }: RequestFacts, found: FoundCommit, epoch: string): Promise<void> {
    const { announce, database, logger } = this.#options
    try {
      const events = await readFoundEvents(database.own, database.schema, found)
      if (events.length > 0) announce(events, epoch)
    } catch (error) {
      logger.warn({ operationId: id, error: messageOf(error) }, 'events of a found commit were not read')
    }
  }

  /** Ends an operation that something else broke, a logger that throws, say. */
  async settleBroken(
    request: RequestFacts,
    operation: OpenOperation<Ended<unknown>>,
    error: unknown,
  ): Promise<Ended<unknown>> {
    const notice = createNotice({
      ...named(request),
      code: 'LS_OPERATION_FAILED',
      affectedLayers: ['database'],
    })
    const settled = await this.orPending(operation, () => this.#settleUntilKnown(operation, notice))
    this.#report(operation, settled, this.#options.clock.monotonic())
    const ended = this.#toEnded(request, settled, notice, error)
    this.#options.logger.error({ operationId: request.id, error }, 'an operation broke on its way')
    return ended
  }

  /** Goes on with the work, but tells the caller after a while that the outcome is not known yet. */
  async orPending<T>(operation: OpenOperation<Ended<unknown>>, work: () => Promise<T>): Promise<T> {
    const { clock, pendingAfterMs = 5_000 } = this.#options
    const cancel = clock.after(pendingAfterMs, () => operation.fail(new LockstepError('LS_OUTCOME_PENDING')))
    try {
      return await work()
    } finally {
      cancel()
    }
  }

  /**
   * COMMIT was never sent, or was refused: this copy is rolled back whatever happens. When the database is away the
   * user hears so at once, and the durable notice follows when it is back; unless another copy may have come
   * first, whose outcome cannot be known now. When the database is there, and somebody else is in the way, that may
   * be another copy in its COMMIT.
   */
  async #settleRolledBack(
    request: RequestFacts,
    operation: OpenOperation<Ended<unknown>>,
    notice: Notice,
    error: unknown,
  ): Promise<SettledOperation> {
    try {
      return await this.#options.settler.settle(operation.key, notice, operation.mode)
    } catch (settleError) {
      if (isLockstepError(settleError, 'LS_OPERATION_ID_REUSED')) throw settleError
      if (isHeldUp(settleError))
        return this.orPending(operation, () => this.#settleUntilKnown(operation, notice))
      if (request.repeat === true) operation.fail(new LockstepError('LS_OUTCOME_PENDING'))
      else this.#answerFromMemory(operation, { ...notice, transient: true }, error)
      const settled = await this.#settleUntilKnown(operation, notice)
      // The attempt that failed may have been the one that decided.
      return settled.state === 'committed' ? settled : { state: settled.state, notice: settled.notice }
    }
  }

  #answerFromMemory(operation: OpenOperation<Ended<unknown>>, notice: Notice, error: unknown): void {
    const { announceTransient, clock } = this.#options
    const { id, userId } = operation.key
    if (operation.mode === 'enforce') {
      announceTransient({
        channel: userChannel(userId),
        type: coordinationEvents.transactionRolledBack,
        operationId: id,
        userId,
        data: JSON.stringify(notice),
        at: new Date(clock.now()),
      })
    }
    operation.answer({ outcome: { outcome: 'rolled_back', operationId: id, notice }, error })
  }

  #settleUntilKnown(operation: OpenOperation<Ended<unknown>>, notice: Notice): Promise<SettledOperation> {
    const { settler, giveUp } = this.#options
    return settler.settleUntilKnown(operation.key, notice, { signal: giveUp, mode: operation.mode })
  }

  #report(operation: OpenOperation<Ended<unknown>>, settled: SettledOperation, failedAt: number): void {
    const { probe } = this.#options
    if (!probe.isOn) return
    // By the node that took this one for dead, which has counted it.
    if (settled.state === 'rolled_back' && settled.wasDecidedBefore === true) return
    const { key, mode, beganAt } = operation
    const committed = settled.state === 'committed'
    probe.ended({
      operationId: key.id,
      operation: key.name,
      userId: key.userId,
      mode,
      outcome: settled.state,
      beganAt,
      // The reply to COMMIT was lost: it came some time after the beginning, and others may have shown it since.
      endedAt: committed ? beganAt : failedAt,
      offsets: committed ? settled.offsets : noOffsets,
      isTold: mode === 'enforce',
    })
  }

  #toEnded(request: RequestFacts, settled: SettledOperation, notice: Notice, error: unknown): Ended<unknown> {
    const outcome = this.#options.outcomes.toOutcome(request.id, settled, notice)
    return outcome.outcome === 'committed' ? { outcome } : { outcome, error }
  }
}

/** By another transaction: nothing was written, and the next attempt comes behind it. */
function isHeldUp(error: unknown): boolean {
  return isLockstepError(error, 'LS_STATEMENT_TIMEOUT') || isLockstepError(error, 'LS_SERIALIZATION_FAILURE')
}

function named({ id, name, rollback }: RequestFacts) {
  return { operationId: id, operationName: name, rollback }
}

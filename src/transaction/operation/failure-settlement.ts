import { mutationPoint } from '../../protocol/mutation-point.ts'
import { faultPoint } from '../../core/fault-point.ts'
import { coordinationEvents, type Notice, type Outcome } from '../../protocol/index.ts'
import {
  detach,
  LockstepError,
  messageOf,
  noOffsets,
  refusalIn,
  userChannel,
  type Clock,
  type Logger,
  type Probe,
  type Refusal,
  type UserContext,
} from '../../core/index.ts'
import type { FoundCommit, LogAppender, StoredEvent } from '../../log/index.ts'
import type { TransientEvent } from '../../feeds/index.ts'
import type { AttemptResult } from './attempt.ts'
import type { HookRunner } from './hook-runner.ts'
import { createNotice, type RollbackOptions } from '../settle/notice.ts'
import type { OpenOperation } from './open-operation.ts'
import { afterFailedSettlement, type Settlement } from '../settle/outcome-search.ts'
import type { Settler } from '../settle/settlement.ts'
import type { StoredOutcomes } from '../settle/stored-outcomes.ts'

/** Facts about an operation that its settlement needs. */
export interface RequestFacts {
  readonly id: string
  readonly name: string
  readonly user: UserContext
  readonly rollback: RollbackOptions
  /** Tells the user nothing of a rollback: the run that it belongs to goes on, and tells of its own end. */
  readonly isQuiet?: boolean | undefined
  /** The id may have been sent before: while the database is away, no answer is then given from memory. */
  readonly repeat?: boolean | undefined
}

/** The outcome, and for the caller in this process what a user must not see. */
export interface EndedOperation<Result> {
  readonly outcome: Outcome<Result>
  /** Error that rolled it back; absent when committed, or when the outcome was replayed. */
  readonly error?: unknown
}

export interface FailureOptions {
  readonly settler: Settler
  readonly outcomes: StoredOutcomes
  readonly clock: Clock
  readonly logger: Logger
  readonly probe: Probe
  /** Takes committed events to their subscribers. */
  readonly deliver: (events: readonly StoredEvent[], epoch: string) => void
  readonly log: LogAppender
  readonly hooks: HookRunner
  /** Shows what is in no log, such as a notice that could not be made durable yet. */
  readonly deliverTransient: (event: TransientEvent) => void
  /** How long a caller waits for an outcome that is not known yet, before it is told so. Default 5,000. */
  readonly pendingAfterMs?: number
  /** Ends the search for outcomes that are not known. */
  readonly giveUp: AbortSignal
}

type Failed = Extract<AttemptResult<unknown>, { ending: 'rolled_back' | 'unknown' }>

/** Takes operations that did not commit, as far as this process could hear, to their outcome, and tells their users. */
export class FailureSettlement {
  readonly #options: FailureOptions

  constructor(options: FailureOptions) {
    this.#options = options
  }

  /** Makes the rollback, or finds the ending of a COMMIT whose reply was lost. */
  async settle(
    request: RequestFacts,
    operation: OpenOperation<EndedOperation<unknown>>,
    failed: Failed,
  ): Promise<EndedOperation<unknown>> {
    const { error, code, affectedLayers } = failed
    const failedAt = this.#options.clock.monotonic()
    const refusal = code === 'LS_OPERATION_REFUSED' ? refusalIn(error) : undefined
    this.#log(request, failed, refusal)
    const notice = createNotice({ ...named(request), code, affectedLayers, refusal })
    if (mutationPoint('raw error shown to the user')) Object.assign(notice, { errorMessage: String(error) })
    await faultPoint('transaction.before-notice')
    const settled =
      failed.ending === 'rolled_back'
        ? await this.#settleRolledBack(request, operation, notice, error)
        : await this.orPending(operation, () => this.#settleUntilKnown(operation, notice))
    await faultPoint('transaction.after-notice')
    // Skip the report where another copy committed: its node has counted it and runs its hooks.
    const isAnothers =
      settled.state === 'committed' && (failed.ending === 'rolled_back' || settled.isAnothers === true)
    if (!isAnothers) this.#report(operation, settled, failedAt)
    if (!isAnothers && settled.state === 'committed' && failed.ending === 'unknown') {
      const delivered = this.#deliverFound(
        { operationId: request.id, emitted: failed.emitted, offsets: settled.offsets },
        settled.epoch,
      )
      detach(delivered, this.#options.logger, 'the delivery of a commit that was found out')
    }
    const ending = isAnothers ? 'rolled_back' : settled.state
    const facts = { operationId: request.id, operation: request.name, ending }
    this.#options.hooks.run(failed.hooksOf(ending), facts)
    if (settled.state === 'committed' && !isAnothers && failed.ending === 'unknown') {
      // The database has the result as JSON; its caller in this process gets what the work returned.
      return this.#toEnded(request, { ...settled, result: failed.result }, notice, error)
    }
    return this.#toEnded(request, settled, notice, error)
  }

  /** A refusal is the application at work, and no fault. */
  #log({ id, name, user, isQuiet }: RequestFacts, failed: Failed, refusal: Refusal | undefined): void {
    const { logger } = this.#options
    const facts = { operationId: id, operation: name, user, code: failed.code }
    if (refusal !== undefined) logger.info({ ...facts, refusal: refusal.code }, 'an operation was refused')
    // A quiet one is another's affair, who says whether it is an error.
    else
      logger[isQuiet === true ? 'debug' : 'error'](
        { ...facts, ending: failed.ending, error: failed.error },
        'an operation failed',
      )
  }

  /**
   * Delivers the events of a commit that was found out; where this fails, the comparison of heads finds them a little
   * later.
   */
  async #deliverFound(found: FoundCommit, epoch: string): Promise<void> {
    const { deliver, log, logger } = this.#options
    try {
      const events = await log.eventsOf(found)
      if (mutationPoint('commit that is found out later delivered to nobody')) return
      if (events.length > 0) deliver(events, epoch)
    } catch (error) {
      logger.warn(
        { operationId: found.operationId, error: messageOf(error) },
        'events of a found commit were not read',
      )
    }
  }

  /** Ends an operation that something else broke, a logger that throws, say. */
  async settleBroken(
    request: RequestFacts,
    operation: OpenOperation<EndedOperation<unknown>>,
    error: unknown,
  ): Promise<EndedOperation<unknown>> {
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
  async orPending<T>(operation: OpenOperation<EndedOperation<unknown>>, work: () => Promise<T>): Promise<T> {
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
    operation: OpenOperation<EndedOperation<unknown>>,
    notice: Notice,
    error: unknown,
  ): Promise<Settlement> {
    try {
      return await this.#options.settler.settle(operation.key, notice, operation.toldMode)
    } catch (settleError) {
      const step = afterFailedSettlement(settleError, request.repeat === true)
      if (step === 'refuse') throw settleError
      if (step === 'askOn')
        return this.orPending(operation, () => this.#settleUntilKnown(operation, notice, settleError))
      if (step === 'tellPending') operation.fail(new LockstepError('LS_OUTCOME_PENDING'))
      else this.#answerFromMemory(operation, { ...notice, transient: true }, error)
      const settled = await this.#settleUntilKnown(operation, notice, settleError)
      // The attempt that failed may have been the one that decided.
      return settled.state === 'committed' ? settled : { state: settled.state, notice: settled.notice }
    }
  }

  #answerFromMemory(operation: OpenOperation<EndedOperation<unknown>>, notice: Notice, error: unknown): void {
    const { deliverTransient, clock } = this.#options
    const { id, userId } = operation.key
    if (operation.toldMode === 'enforce') {
      deliverTransient({
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

  #settleUntilKnown(
    operation: OpenOperation<EndedOperation<unknown>>,
    notice: Notice,
    after?: unknown,
  ): Promise<Settlement> {
    const { settler, giveUp } = this.#options
    const { toldMode: mode } = operation
    return settler.settleUntilKnown(operation.key, notice, { signal: giveUp, mode, after })
  }

  #report(operation: OpenOperation<EndedOperation<unknown>>, settled: Settlement, failedAt: number): void {
    const { probe } = this.#options
    if (!probe.isOn) return
    // Skip the count: the node that took this one for dead has settled and counted the operation.
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
      isNotified: operation.toldMode === 'enforce',
    })
  }

  #toEnded(
    request: RequestFacts,
    settled: Settlement,
    notice: Notice,
    error: unknown,
  ): EndedOperation<unknown> {
    const outcome = this.#options.outcomes.toOutcome(request.id, settled, notice)
    return outcome.outcome === 'committed' ? { outcome } : { outcome, error }
  }
}

function named({ id, name, rollback }: RequestFacts) {
  return { operationId: id, operationName: name, rollback }
}

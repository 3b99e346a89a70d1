import { mutationPoint } from '../../protocol/mutation-point.ts'
import { faultPoint } from '../../core/fault-point.ts'
import { coordinationEvents, type Notice } from '../../protocol/index.ts'
import {
  detach,
  LockstepError,
  refusalIn,
  userChannel,
  type Clock,
  type Logger,
  type Refusal,
} from '../../core/index.ts'
import type { TransientEvent } from '../../feeds/index.ts'
import { createNotice } from '../settle/notice.ts'
import { afterFailedSettlement, type Settlement } from '../settle/outcome-search.ts'
import type { Settler } from '../settle/settlement.ts'
import type { StoredOutcomes } from '../settle/stored-outcomes.ts'
import type { AttemptResult } from './attempt-result.ts'
import type { CommitDelivery } from './commit-delivery.ts'
import type { HookRunner } from './hook-runner.ts'
import type { OpenOperation } from './open-operation.ts'
import type { OperationReports } from './operation-reports.ts'
import type { EndedOperation, RequestFacts } from './operation-request.ts'
import type { PendingAnswer } from './pending-answer.ts'

export interface FailureOptions {
  readonly settler: Settler
  readonly outcomes: StoredOutcomes
  readonly clock: Clock
  readonly logger: Logger
  readonly reports: OperationReports
  readonly deliveries: CommitDelivery
  readonly hooks: HookRunner
  /** Shows what is in no log, such as a notice that could not be made durable yet. */
  readonly deliverTransient: (event: TransientEvent) => void
  readonly pending: PendingAnswer
  /** Ends the search for outcomes that are not known. */
  readonly giveUp: AbortSignal
}

type Failed = Extract<AttemptResult<unknown>, { ending: 'rolled_back' | 'unknown' }>

/** Takes operations that did not commit, as far as this process could hear, to their outcome, and tells their users. */
export class FailureSettlement {
  readonly #settler: Settler
  readonly #outcomes: StoredOutcomes
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #reports: OperationReports
  readonly #deliveries: CommitDelivery
  readonly #hooks: HookRunner
  readonly #deliverTransient: (event: TransientEvent) => void
  readonly #pending: PendingAnswer
  readonly #giveUp: AbortSignal

  constructor(options: FailureOptions) {
    this.#settler = options.settler
    this.#outcomes = options.outcomes
    this.#clock = options.clock
    this.#logger = options.logger
    this.#reports = options.reports
    this.#deliveries = options.deliveries
    this.#hooks = options.hooks
    this.#deliverTransient = options.deliverTransient
    this.#pending = options.pending
    this.#giveUp = options.giveUp
  }

  /** Makes the rollback, or finds the ending of a COMMIT whose reply was lost. */
  async settle(
    request: RequestFacts,
    operation: OpenOperation<EndedOperation<unknown>>,
    failed: Failed,
  ): Promise<EndedOperation<unknown>> {
    const { error, code, affectedLayers } = failed
    const failedAt = this.#clock.monotonic()
    const refusal = code === 'LS_OPERATION_REFUSED' ? refusalIn(error) : undefined
    this.#log(request, failed, refusal)
    const notice = createNotice({ ...named(request), code, affectedLayers, refusal })
    if (mutationPoint('raw error shown to the user')) Object.assign(notice, { errorMessage: String(error) })
    await faultPoint('transaction.before-notice')
    const settled =
      failed.ending === 'rolled_back'
        ? await this.#settleRolledBack(request, operation, notice, error)
        : await this.#pending.during(operation, () => this.#settleUntilKnown(operation, notice))
    await faultPoint('transaction.after-notice')
    // Skip the report where another copy committed: its node has counted it and runs its hooks.
    const isAnothers =
      settled.state === 'committed' && (failed.ending === 'rolled_back' || settled.isAnothers === true)
    if (!isAnothers) this.#reports.settled(operation, settled, failedAt)
    if (!isAnothers && settled.state === 'committed' && failed.ending === 'unknown') {
      const { id: operationId } = request
      const found = { operationId, emitted: failed.emitted, offsets: settled.offsets }
      const delivered = this.#deliveries.found(found, settled.epoch)
      detach(delivered, this.#logger, 'the delivery of a commit that was found out')
    }
    const ending = isAnothers ? 'rolled_back' : settled.state
    const facts = { operationId: request.id, operation: request.name, ending }
    this.#hooks.run(failed.hooksOf(ending), facts)
    if (settled.state === 'committed' && !isAnothers && failed.ending === 'unknown') {
      // The database has the result as JSON; its caller in this process gets what the work returned.
      return this.#toEnded(request, { ...settled, result: failed.result }, notice, error)
    }
    return this.#toEnded(request, settled, notice, error)
  }

  /** A refusal is the application at work, and no fault. */
  #log({ id, name, user, isQuiet }: RequestFacts, failed: Failed, refusal: Refusal | undefined): void {
    const facts = { operationId: id, operation: name, user, code: failed.code }
    if (refusal !== undefined)
      this.#logger.info({ ...facts, refusal: refusal.code }, 'an operation was refused')
    // A quiet one is another's affair, who says whether it is an error.
    else
      this.#logger[isQuiet === true ? 'debug' : 'error'](
        { ...facts, ending: failed.ending, error: failed.error },
        'an operation failed',
      )
  }

  /** Ends an operation that something else broke, a logger that throws, say. */
  async settleBroken(
    request: RequestFacts,
    operation: OpenOperation<EndedOperation<unknown>>,
    error: unknown,
  ): Promise<EndedOperation<unknown>> {
    const facts = { code: 'LS_OPERATION_FAILED', affectedLayers: ['database'] } as const
    const notice = createNotice({ ...named(request), ...facts })
    const settled = await this.#pending.during(operation, () => this.#settleUntilKnown(operation, notice))
    this.#reports.settled(operation, settled, this.#clock.monotonic())
    const ended = this.#toEnded(request, settled, notice, error)
    this.#logger.error({ operationId: request.id, error }, 'an operation broke on its way')
    return ended
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
      return await this.#settler.settle(operation.key, notice, operation.reportedMode)
    } catch (settleError) {
      const step = afterFailedSettlement(settleError, request.repeat === true)
      if (step === 'refuse') throw settleError
      if (step === 'askOn')
        return this.#pending.during(operation, () => this.#settleUntilKnown(operation, notice, settleError))
      if (step === 'tellPending') operation.fail(new LockstepError('LS_OUTCOME_PENDING'))
      else this.#answerFromMemory(operation, { ...notice, transient: true }, error)
      const settled = await this.#settleUntilKnown(operation, notice, settleError)
      // The attempt that failed may have been the one that decided.
      return settled.state === 'committed' ? settled : { state: settled.state, notice: settled.notice }
    }
  }

  #answerFromMemory(operation: OpenOperation<EndedOperation<unknown>>, notice: Notice, error: unknown): void {
    const { id, userId } = operation.key
    if (operation.reportedMode === 'enforce') {
      this.#deliverTransient({
        channel: userChannel(userId),
        type: coordinationEvents.transactionRolledBack,
        operationId: id,
        userId,
        data: JSON.stringify(notice),
        at: new Date(this.#clock.now()),
      })
    }
    operation.answer({ outcome: { outcome: 'rolled_back', operationId: id, notice }, error })
  }

  #settleUntilKnown(
    operation: OpenOperation<EndedOperation<unknown>>,
    notice: Notice,
    after?: unknown,
  ): Promise<Settlement> {
    const { reportedMode: mode } = operation
    return this.#settler.settleUntilKnown(operation.key, notice, { signal: this.#giveUp, mode, after })
  }

  #toEnded(
    request: RequestFacts,
    settled: Settlement,
    notice: Notice,
    error: unknown,
  ): EndedOperation<unknown> {
    const outcome = this.#outcomes.toOutcome(request.id, settled, notice)
    return outcome.outcome === 'committed' ? { outcome } : { outcome, error }
  }
}

function named({ id, name, rollback }: RequestFacts) {
  return { operationId: id, operationName: name, rollback }
}

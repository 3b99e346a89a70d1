import { faultPoint } from '../../core/fault-point.ts'
import { isLockstepError, messageOf, type Logger, type Turn } from '../../core/index.ts'
import type { Rollout } from '../../rollout/index.ts'
import { positionsIn, type StoredOutcomes } from '../settle/stored-outcomes.ts'
import type { Accepted, Attempts } from './attempts.ts'
import type { CommitDelivery } from './commit-delivery.ts'
import type { FailureSettlement } from './failure-settlement.ts'
import type { HookRunner } from './hook-runner.ts'
import type { OpenOperation } from './open-operation.ts'
import type { OperationReports } from './operation-reports.ts'
import type { EndedOperation, OperationRequest } from './operation-request.ts'
import { OperationTrace } from './operation-trace.ts'
import type { PendingAnswer } from './pending-answer.ts'

interface Admitted<Db, Result> extends Accepted<Db, Result> {
  readonly turn: Turn | undefined
}

export interface ExecutionOptions<Db> {
  readonly rollout: Pick<Rollout, 'modeOf'>
  readonly attempts: Attempts<Db>
  readonly failures: FailureSettlement
  readonly outcomes: StoredOutcomes
  readonly pending: PendingAnswer
  readonly deliveries: CommitDelivery
  readonly reports: OperationReports
  readonly hooks: HookRunner
  readonly logger: Logger
  /** Epoch of the history that this node serves. */
  readonly epoch: () => string
}

/** Carries out an operation that has its slot: from its mode over its attempts to the answer. */
export class OperationExecution<Db> {
  readonly #rollout: Pick<Rollout, 'modeOf'>
  readonly #attempts: Attempts<Db>
  readonly #failures: FailureSettlement
  readonly #outcomes: StoredOutcomes
  readonly #pending: PendingAnswer
  readonly #deliveries: CommitDelivery
  readonly #reports: OperationReports
  readonly #hooks: HookRunner
  readonly #logger: Logger
  readonly #epoch: () => string

  constructor(options: ExecutionOptions<Db>) {
    this.#rollout = options.rollout
    this.#attempts = options.attempts
    this.#failures = options.failures
    this.#outcomes = options.outcomes
    this.#pending = options.pending
    this.#deliveries = options.deliveries
    this.#reports = options.reports
    this.#hooks = options.hooks
    this.#logger = options.logger
    this.#epoch = options.epoch
  }

  /**
   * Errors of the catalogue are answers. Anything else broke on the way (a logger that throws, say), and must not
   * leave the operation open: while this node lives, nobody else would settle it.
   */
  async run<Result>(
    request: OperationRequest<Db, Result>,
    operation: OpenOperation<EndedOperation<unknown>>,
    turn: Turn | undefined,
  ): Promise<EndedOperation<unknown>> {
    let trace: OperationTrace | undefined
    try {
      let ended: EndedOperation<unknown>
      try {
        const mode = this.#rollout.modeOf(request.name, request.user)
        operation.mode = typeof mode === 'string' ? mode : await mode
        trace = new OperationTrace({ id: request.id, name: request.name, mode: operation.mode })
        ended = await this.#run({ request, operation, trace, turn })
      } catch (error) {
        if (isLockstepError(error)) throw error
        ended = await this.#failures.settleBroken(request, operation, error)
      }
      operation.intent?.ended()
      return ended
    } catch (error) {
      // End the intent of a reused id: its outcome is that of another operation. After any other error the intent
      // stays, for the settlement.
      if (isLockstepError(error, 'LS_OPERATION_ID_REUSED')) operation.intent?.ended()
      throw error
    } finally {
      this.#endTrace(trace)
    }
  }

  /** The outcome stands: what a tracer throws must not take the answer's place. */
  #endTrace(trace: OperationTrace | undefined): void {
    try {
      trace?.ended()
    } catch (error) {
      this.#logger.warn({ error: messageOf(error) }, 'the span of an operation was not ended')
    }
  }

  async #run<Result>(accepted: Admitted<Db, Result>): Promise<EndedOperation<unknown>> {
    const { request, operation, trace, turn } = accepted
    const ending = await this.#attempts.run(accepted)
    turn?.release()
    if (ending.ending === 'known') {
      // The outcome stands, whether or not it can be read now.
      operation.intent?.ended()
      return this.#pending.during(operation, async () => ({
        outcome: await this.#outcomes.find(request.id, operation.key),
      }))
    }
    if (ending.ending !== 'committed') {
      const ended = await this.#failures.settle(request, operation, ending)
      trace.settled(ended.outcome.outcome, ending.code)
      return ended
    }
    this.#reports.committed(operation, ending.landed.offsets)
    const epoch = ending.epoch ?? this.#epoch()
    this.#deliveries.committed(request.id, ending, epoch, trace)
    trace.settled('committed')
    const facts = { operationId: request.id, operation: request.name, ending: ending.ending }
    this.#hooks.run(ending.hooksOf('committed'), facts)
    await faultPoint('transaction.before-reply')
    return {
      outcome: {
        outcome: 'committed',
        operationId: request.id,
        result: ending.result,
        positions: positionsIn(epoch, ending.landed.offsets),
      },
    }
  }
}

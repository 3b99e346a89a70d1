import { faultPoint } from '../../core/fault-point.ts'
import {
  isLockstepError,
  messageOf,
  newOperationId,
  pause,
  refusalIn,
  type Clock,
  type ErrorCode,
  type Logger,
} from '../../core/index.ts'
import type { Notice } from '../../protocol/index.ts'
import { thrownErrorCode } from '../../postgres/index.ts'
import { changeByEnding, changeByRelease, type CodeEnding, type RunChange } from '../model/run-decisions.ts'
import { isFinal } from '../model/run-machine.ts'
import { runNotice } from '../store/run-events.ts'
import type { RunStore, StoredRun } from '../store/run-store.ts'
import type { Execution, ExecutionEnd } from './execution.ts'

export interface RunEndingOptions {
  readonly store: RunStore
  readonly clock: Clock
  readonly logger: Logger
}

const firstPauseMs = 50
const longestPauseMs = 2_000

/** Writes how an attempt at a run has ended, until that stands, or the run is another attempt's. */
export class RunEnding {
  readonly #store: RunStore
  readonly #clock: Clock
  readonly #logger: Logger

  constructor({ store, clock, logger }: RunEndingOptions) {
    this.#store = store
    this.#clock = clock
    this.#logger = logger
  }

  /** @param isGivenUp asked before another try; true leaves the run to whoever finds its node dead */
  async write(execution: Execution, end: ExecutionEnd, isGivenUp: () => boolean): Promise<void> {
    if (end.kind === 'lost') return
    const { task, run: claimed, node } = execution.claimed
    let run: StoredRun = claimed
    let pauseMs = firstPauseMs
    if (execution.isStopped) run = withStop(run)
    let operation = newOperationId()
    while (!isGivenUp()) {
      const change = changeOf(run, end)
      const notice = this.#noticeOf(execution, run, change, end)
      const result = change.inputs.includes('save') && end.kind === 'returned' ? end.result : null
      try {
        await faultPoint('runs.before-end')
        const changed = await this.#store.change(run, change, {
          node,
          result,
          notice,
          waitMs: 2_000,
          lastStep: end.kind === 'returned' ? execution.committed.last : undefined,
          operation,
        })
        await faultPoint('runs.after-end')
        if (changed === undefined || changed.isChanged || !isOurs(changed.run, execution)) {
          this.#log(execution, end, changed?.run)
          return
        }
        // The history lacks a step that the code has seen: the run is handed back, and goes on under its next attempt.
        if (changed.run.facts.isStopRequested === run.facts.isStopRequested) return
        // A stop was acknowledged meanwhile: the end is another now.
        run = { ...run, node: changed.run.node, facts: { ...run.facts, ...changed.run.facts } }
        operation = newOperationId()
      } catch (error) {
        const facts = { run: run.id, task: task.name, error: messageOf(error) }
        this.#logger.warn(facts, 'the end of a run was not written this time')
        await pause(this.#clock, pauseMs)
        pauseMs = Math.min(pauseMs * 2, longestPauseMs)
      }
    }
  }

  #noticeOf(
    { claimed }: Execution,
    run: StoredRun,
    { inputs }: RunChange,
    end: ExecutionEnd,
  ): Notice | undefined {
    if (inputs.includes('expire')) return runNotice(run, 'LS_RUN_TIMEOUT', claimed.task.failure)
    if (!inputs.includes('fail') || end.kind !== 'failed') return undefined
    const refusal = refusalIn(end.error)
    const code = refusal === undefined ? failureCodeOf(end.error) : 'LS_OPERATION_REFUSED'
    return runNotice(run, code, claimed.task.failure, refusal)
  }

  #log({ claimed }: Execution, end: ExecutionEnd, run: StoredRun | undefined): void {
    const facts = { run: claimed.run.id, task: claimed.task.name, state: run?.facts.state }
    const refusal = end.kind === 'failed' ? refusalIn(end.error) : undefined
    if (refusal !== undefined) this.#logger.info({ ...facts, refusal: refusal.code }, 'a run was refused')
    else if (end.kind === 'failed' && run?.facts.state === 'failed')
      this.#logger.error({ ...facts, error: end.error }, 'a run failed')
    else if (end.kind === 'expired' && run?.facts.state === 'timeout')
      this.#logger.error(facts, 'the time of a run was over')
  }
}

function changeOf(run: StoredRun, end: Exclude<ExecutionEnd, { kind: 'lost' }>): RunChange {
  if (end.kind === 'released') return changeByRelease(run.facts, end.pauseMs)
  const ending: CodeEnding = end.kind
  return changeByEnding(run.facts, ending)
}

function withStop(run: StoredRun): StoredRun {
  return { ...run, facts: { ...run.facts, isStopRequested: true } }
}

function isOurs({ facts }: StoredRun, execution: Execution): boolean {
  return !isFinal(facts.state) && facts.state === 'running' && facts.attempt === execution.attempt
}

/** The code in the notice: of Lockstep or the database where there is one. */
function failureCodeOf(error: unknown): ErrorCode {
  const code = isLockstepError(error) ? error.code : thrownErrorCode(error)
  return code === undefined || code === 'LS_OPERATION_FAILED' ? 'LS_RUN_FAILED' : code
}

import type { DraftHandle, ErrorCode } from '../../core/index.ts'
import type { Transaction } from '../../transaction/index.ts'
import type { Retry } from '../model/retry-rules.ts'
import type { StepName } from '../model/step-name.ts'

/** Context of the work of a step. */
export interface WorkContext {
  /** Aborts when the run is stopped or lost, its time or that of the step is over, or the node stops. */
  readonly signal: AbortSignal
  /** The same for every attempt of this step: give it to a payment provider, say. */
  readonly idempotencyKey: string
  /** Number of the run's current claim, from 1. */
  readonly attempt: number
  /**
   * Shows chunks to whoever listens to the channel of the run, until the step commits or fails.
   * @throws LS_DRAFT_UNKNOWN, LS_DRAFT_NOWHERE
   */
  readonly draft: (name: string) => DraftHandle<unknown>
  /**
   * Chunks that this step had shown in the newest earlier attempt that showed any, whatever ended it: a death, a deploy or a throw. Screens do
   * not show them unless this attempt appends them again.
   */
  readonly previous: (name: string) => readonly unknown[]
}

/** Facts for the commit of a step, beside the value of its work. */
export interface Ending {
  /** The run was stopped meanwhile, or the node of the work died under `onNodeDeath: 'keep'`: the value is what the work had by then. */
  readonly stopped: boolean
  readonly attempt: number
}

/** A step as the task's code gives it, whatever its form. */
export interface StepPlan {
  readonly method: 'do' | 'commit'
  readonly name: StepName
  readonly key: string
  readonly work: ((context: WorkContext) => Promise<unknown>) | undefined
  readonly commit:
    ((tx: Transaction<unknown>, value: unknown, ending: Ending) => Promise<unknown>) | undefined
  readonly timeoutMs: number | undefined
  readonly retry: Retry
}

/** Errors that another try would meet again: the step, or the code around it, has to be changed. */
export const finalStepErrors: ReadonlySet<ErrorCode> = new Set([
  'LS_STEP_RESULT_INVALID',
  'LS_STEP_NESTED',
  'LS_STEP_REPEATED',
  'LS_STEP_OUTSIDE_RUN',
  'LS_RESULT_TOO_LARGE',
  'LS_RUN_CODE_CHANGED',
  'LS_CONFIG_INVALID',
  'LS_CHANNEL_INVALID',
  'LS_EVENT_UNKNOWN',
  'LS_EVENT_INVALID',
  'LS_EVENT_TOO_LARGE',
  'LS_OPERATION_TOO_LARGE',
  'LS_DRAFT_UNKNOWN',
  'LS_DRAFT_NOWHERE',
  'LS_DRAFT_INVALID',
  'LS_DRAFT_TOO_LARGE',
])

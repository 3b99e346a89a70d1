import type { Channel, UserContext } from '../../core/index.ts'
import type { RollbackOptions } from '../../transaction/index.ts'
import type { Retry } from '../model/retry-rules.ts'
import type { StoredRun } from '../store/run-store.ts'
import type { StepName } from '../model/step-name.ts'

/** Steps of a run, without the types of the task. */
export interface StepCalls {
  do(name: StepName, step: unknown): Promise<unknown>
  commit(name: StepName, commit: unknown): Promise<unknown>
  progress(value: unknown): void
  /** Names the channel of the run, before its code begins. */
  showOn(channel: Channel | undefined): void
}

/** A run whose code is to go on, as that code sees it. */
export interface RunContext {
  readonly input: unknown
  readonly user: UserContext
  readonly runId: string
  readonly step: StepCalls
  readonly signal: AbortSignal
}

/** A declared task, as the execution of its runs needs it. */
export interface RunnableTask {
  readonly name: string
  readonly retry: Retry
  readonly onStop: 'keep' | 'discard'
  /** Names the channel of its runs; else that is the one of their user. */
  readonly hasChannel: boolean
  /** Steps may begin before all committed ones have been asked for. */
  readonly isParallel: boolean
  readonly failure: RollbackOptions
  /** @throws LS_INPUT_INVALID for a stored input that the schema refuses by now, and what the code throws */
  run(context: RunContext): Promise<unknown>
  /**
   * Whether the user may stop a run of another one; undefined where the task does not say.
   * @param stored the input of the run
   * @throws errors of the check
   */
  mayStop(stored: unknown, user: UserContext, startedBy: string): Promise<boolean | undefined>
  /** JSON text of a progress. @throws LS_EVENT_INVALID, LS_EVENT_TOO_LARGE */
  toProgress(value: unknown): string
}

/** A run of a task that this node has claimed. */
export interface ClaimedRun {
  readonly run: StoredRun
  /** Lease under which it was claimed. */
  readonly node: string
  readonly task: RunnableTask
  /** The node of the last attempt had died. */
  readonly isTakenOver: boolean
}

import type { OngoingRun } from './ongoing.ts'
import type { Notice } from './outcome.ts'
import type { RunPhase, RunState } from './runs.ts'

/** A run, as the question for it is answered. */
export interface RunReport extends OngoingRun {
  /** Channel on which it is shown. */
  readonly channel: string
  /** Steps that have committed, in their order: the newest of them, where there are many. */
  readonly steps: readonly { readonly name: string; readonly at: string }[]
  /** Present where it has completed with a result. */
  readonly result?: unknown
  /** Present where it has failed. */
  readonly notice?: Notice
}

/** Result of a stop: the state that it found. */
export interface FoundRun {
  readonly runId: string
  readonly task: string
  readonly state: RunState
  readonly phase: RunPhase
}

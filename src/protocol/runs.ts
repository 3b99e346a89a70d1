import type { Notice } from './outcome.ts'

/** States of a run. The last five are final. */
export const runStates = [
  'pending',
  'starting',
  'running',
  'completing',
  'completed',
  'failed',
  'timeout',
  'dead',
  'cancelled',
] as const

export type RunState = (typeof runStates)[number]

/** The part of the state that a screen shows. */
export type RunPhase = 'queued' | 'active' | 'completed' | 'failed' | 'stopped'

const phases: Readonly<Record<RunState, RunPhase>> = {
  pending: 'queued',
  starting: 'active',
  running: 'active',
  completing: 'active',
  completed: 'completed',
  failed: 'failed',
  timeout: 'failed',
  dead: 'failed',
  cancelled: 'stopped',
}

export function phaseOf(state: RunState): RunPhase {
  return phases[state]
}

/** States that a run never leaves. */
export const finalRunStates: ReadonlySet<RunState> = new Set([
  'completed',
  'failed',
  'timeout',
  'dead',
  'cancelled',
])

/** Types of Lockstep's own events about runs. */
export const runEvents = { state: 'run.state', progress: 'run.progress' } as const

/** Data of `run.state`. */
export interface RunStateData {
  readonly runId: string
  readonly task: string
  readonly state: RunState
  readonly phase: RunPhase
  /** Number of the run's current claim; 0 before the first. */
  readonly attempt: number
  /** Id of the user who started it. */
  readonly startedBy: string
  /** Code of the error that ended it. Absent unless it failed. */
  readonly code?: string
}

/** Data of `run.progress`. */
export interface RunProgressData<Progress = unknown> {
  readonly runId: string
  readonly progress: Progress
}

/** Events that Lockstep itself may show on any channel. */
export interface RunEventTypes {
  readonly 'run.state': RunStateData
  readonly 'run.progress': RunProgressData
}

/** A run that has not ended, as the question for those of a channel is answered. */
export interface OpenRun extends Omit<RunStateData, 'code'> {
  /** The newest one. Absent where there is none. */
  readonly progress?: unknown
}

/** A run, as the question for it is answered. */
export interface RunReport extends OpenRun {
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

/** Names a run. The task's name gives a client its types. */
export interface RunRef<Name extends string = string> {
  readonly id: string
  readonly task: Name
}

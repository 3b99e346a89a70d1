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

/** Names a run. The task's name gives a client its types. */
export interface RunRef<Name extends string = string> {
  readonly id: string
  readonly task: Name
}

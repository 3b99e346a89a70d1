/**
 * Room `runs`: long work that goes on when its process dies. It knows tasks, their runs and steps, and whose a run is; it
 * refuses to know sockets, and SQL of its own.
 */
export { isFinal, runArrows, statesBy, type RunInput } from './model/run-machine.ts'
export type { OnNodeDeath } from './model/run-decisions.ts'
export type { Retry } from './model/retry-rules.ts'
export type { StepName } from './model/step-name.ts'
export { RunCalls } from './run-calls.ts'
export type { Ending } from './execution/step-plan.ts'
export type { StepDraftPorts } from './execution/step-draft-ports.ts'
export { Runs, type RunsOptions } from './runs.ts'
export { RunsPart } from './store/runs-part.ts'
export { Task, type TaskHost } from './task.ts'
export type { RunEnd } from './task-types.ts'
export type {
  ControlQuestion,
  EndedOptions,
  ServerStart,
  StartOptions,
  StepOptions,
  Steps,
  TaskContext,
  TaskOptions,
  WorkContext,
} from './task-options.ts'

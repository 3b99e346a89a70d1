import type { RunStateData } from './runs.ts'

/** A draft that is open, with its chunks so far. */
export interface OpenDraft {
  readonly operation: string
  readonly name: string
  /** Attempt at the run, or at the operation, that shows it. A higher one takes the place of a lower one. */
  readonly attempt: number
  readonly runId: string | null
  /** Number of the first of `chunks`, counted from 1 for each operation and name. */
  readonly from: number
  readonly chunks: readonly unknown[]
}

/** A run that has not ended. */
export interface OngoingRun extends Omit<RunStateData, 'code'> {
  readonly waits: readonly unknown[]
  /** The newest progress; `null` before the first. */
  readonly progress: unknown
}

/** Open drafts and runs of a channel: `data` of each reply to a subscribe. A subscriber replaces what it had with it. */
export interface Ongoing {
  readonly drafts: readonly OpenDraft[]
  readonly runs: readonly OngoingRun[]
}

import type { OngoingRun } from '../protocol/index.ts'
import type { StoredDraft } from './ongoing-drafts.ts'

/** Open drafts and runs of a channel, and its head in the same snapshot. */
export interface OngoingSnapshot {
  readonly head: number
  readonly drafts: readonly StoredDraft[]
  readonly runs: readonly OngoingRun[]
}

/** Open drafts among those that were asked for, and the head of their channel in the same snapshot. */
export interface OpenDrafts extends Omit<OngoingSnapshot, 'runs'> {
  /** Operations that are open, also those of which no chunk is stored yet. */
  readonly openOperations: readonly string[]
}

/** Source of what is open on a channel, for its feed. */
export interface OngoingSource {
  /** Whether the channel may have runs or drafts at all. Feeds of other channels ask nothing. */
  covers(channel: string): boolean
  /** @throws retryable database errors */
  read(channel: string): Promise<OngoingSnapshot>
  /** Reads those of the operations that are open. @throws retryable database errors */
  readDrafts(channel: string, operations: readonly string[]): Promise<OpenDrafts>
}

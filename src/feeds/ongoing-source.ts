import type { Ongoing } from '../protocol/index.ts'

/** Open drafts and runs of a channel, and its head in the same snapshot. */
export interface OngoingSnapshot extends Ongoing {
  readonly head: number
}

/** Source of what is open on a channel, for its feed. */
export interface OngoingSource {
  /** Whether the channel may have runs or drafts at all. Feeds of other channels ask nothing. */
  covers(channel: string): boolean
  /** @throws retryable database errors */
  read(channel: string): Promise<OngoingSnapshot>
}

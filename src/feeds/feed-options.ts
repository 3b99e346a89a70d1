import type { Clock, Logger } from '../core/index.ts'
import type { LogReader } from '../log/index.ts'
import type { OngoingSource } from './ongoing-source.ts'
import type { RecentMemory } from './recent-memory.ts'

export interface FeedOptions {
  readonly log: LogReader
  readonly clock: Clock
  readonly logger: Logger
  /** How long a hole may wait for its event before the log is read: commits can be heard out of order. */
  readonly gapWaitMs: number
  /** How long a hole may stay because the log cannot be read, before the subscribers are notified. */
  readonly unreadableAfterMs: number
  /** Events kept in memory, so that those who fell behind a little cost no read. */
  readonly recentEvents: number
  /** Memory that all feeds share. */
  readonly memory: RecentMemory
  /** Source of open drafts and runs. Absent: there are none. */
  readonly ongoing: OngoingSource | undefined
  /** Called when the last member has left. */
  readonly onEmpty: (feed: { readonly channel: string }) => void
}

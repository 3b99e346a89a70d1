import { assertWholeNumbers, type Clock, type Logger, type Queryable } from '../core/index.ts'
import { Retention, type Log } from '../log/index.ts'
import type { LockstepOptions } from './options.ts'
import {
  draftChunkPages,
  draftPages,
  operationPages,
  rollbackEventPages,
  runPages,
  trimDraftChunks,
  trimDrafts,
  trimOperations,
  trimRollbackEvents,
  trimRuns,
} from '../postgres/index.ts'

/** Dependencies that every part of a node is given. */
export interface Base {
  readonly own: Queryable
  readonly schema: string
  readonly clock: Clock
  readonly logger: Logger
}

/** Drafts are kept for the next attempt at their run, and for a hand-over that takes its time. */
const draftsMs = 60 * 60 * 1_000
const dayMs = 24 * 60 * 60 * 1_000
/** A copy of a call that was never heard of may be on its way for some seconds; a closed id outlives it by far. */
const leastClosedIdMs = 10 * 60 * 1_000

/** Durations among the options, which do not depend on the driver. */
export type Durations = Pick<LockstepOptions<never>, 'leaseMs' | 'eventRetentionMs' | 'operationRetentionMs'>

export function assertDurations(
  options: Durations & Pick<LockstepOptions<never>, 'headCheckMs' | 'unreadableAfterMs'>,
): void {
  const { leaseMs, headCheckMs, unreadableAfterMs } = options
  const { eventRetentionMs: events, operationRetentionMs: operations } = options
  // A third of it is how often it is renewed.
  assertWholeNumbers({ leaseMs }, { least: 100 })
  assertWholeNumbers({ headCheckMs, unreadableAfterMs })
  assertWholeNumbers({ eventRetentionMs: events, operationRetentionMs: operations }, { most: 36_500 * dayMs })
}

export function operationRetentionMs(options: Durations): number {
  return options.operationRetentionMs ?? 7 * dayMs
}

/** A call is late after half of it, which is far more than the two renewals of the lease that its age is good to. */
export function closedIdRetentionMs({ leaseMs = 0 }: Durations): number {
  return Math.max(leastClosedIdMs, 4 * leaseMs)
}

export function eventRetentionMs(options: Durations): number {
  return options.eventRetentionMs ?? dayMs
}

export function createRetention(
  { own, schema, clock, logger }: Base,
  log: Pick<Log, 'trim'>,
  options: Durations,
): Retention {
  const [eventMs, outcomesMs] = [eventRetentionMs(options), operationRetentionMs(options)]
  const kept = { outcomesMs, closedIdsMs: closedIdRetentionMs(options) }
  return new Retention({
    own,
    clock,
    logger,
    tables: [
      log.trim(eventMs),
      {
        pages: () => operationPages(schema),
        trim: (page, pages) => trimOperations(schema, kept, page, pages),
      },
      {
        pages: () => rollbackEventPages(schema),
        trim: (page, pages) => trimRollbackEvents(schema, page, pages),
      },
      {
        pages: () => runPages(schema),
        trim: (page, pages) => trimRuns(schema, outcomesMs, page, pages),
      },
      {
        pages: () => draftPages(schema),
        trim: (page, pages) => trimDrafts(schema, draftsMs, page, pages),
      },
      {
        pages: () => draftChunkPages(schema),
        trim: (page, pages) => trimDraftChunks(schema, page, pages),
      },
    ],
  })
}

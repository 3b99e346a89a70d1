// Judges an operation from outside observations alone, and knows nothing of Lockstep's monitor.

/** Event as it came out of a socket. */
export interface Sighting {
  readonly channel: string
  readonly type: string
  readonly operationId: string
  readonly data: unknown
  readonly offset: number | undefined
  /** Monotonic milliseconds of this process at which the event came. */
  readonly receivedAt: number
  /** Whether a second connection could read the rows right after; undefined until the database has answered. */
  readable: boolean | undefined
}

/** An operation as its caller and the database know it. */
export interface Facts {
  readonly operationId: string
  readonly name: string
  readonly user: string
  readonly outcome: 'committed' | 'rolled_back'
  /** Commit time by the database's own record of the transaction; undefined where it left no row. */
  readonly committedAt: number | undefined
  /** Number of events that the operation shows when it commits. */
  readonly events: number
  readonly sightings: readonly Sighting[]
  /** A notice came on the user's own channel. */
  readonly isTold: boolean
}

export interface Verdict extends Facts {
  /** An event was shown before its commit, or without a commit. */
  readonly early: boolean
  /** The operation was rolled back, and no notice came on its user's channel. */
  readonly untold: boolean
  /** The caller heard another outcome than the database holds. */
  readonly contradicted: boolean
  readonly lost: number
  readonly repeated: number
  /** Gaps from commit to receipt, in milliseconds, signed. */
  readonly gaps: readonly number[]
  readonly healthy: boolean
}

export interface Measure {
  readonly toDatabaseMs: (monotonicMs: number) => number
  readonly errorMs: number
  readonly thresholdMs: number
}

export function judge(facts: Facts, { toDatabaseMs, errorMs, thresholdMs }: Measure): Verdict {
  const { outcome, committedAt, sightings, events } = facts
  const hasCommitted = outcome === 'committed'
  const gaps =
    committedAt === undefined ? [] : sightings.map(({ receivedAt }) => toDatabaseMs(receivedAt) - committedAt)
  const early =
    sightings.some(({ readable }) => readable === false) ||
    gaps.some((gap) => gap < -errorMs) ||
    (!hasCommitted && sightings.length > 0)
  const untold = !hasCommitted && !facts.isTold
  const contradicted = hasCommitted !== (committedAt !== undefined)
  const due = hasCommitted ? events : 0
  const lost = Math.max(0, due - sightings.length)
  const repeated = hasCommitted ? Math.max(0, sightings.length - due) : 0
  const late = gaps.some((gap) => gap > thresholdMs)
  const healthy = !early && !untold && !contradicted && lost === 0 && repeated === 0 && !late
  return { ...facts, early, untold, contradicted, lost, repeated, gaps, healthy }
}

/**
 * Describes what is wrong with an operation, in words; an empty list where nothing is. A late event counts in the
 * figures alone.
 */
export function faultsOf(verdict: Verdict): readonly string[] {
  const { early, untold, contradicted, lost, repeated, outcome } = verdict
  const faults: string[] = []
  if (early && outcome === 'committed') faults.push('websocket_before_commit: shown before its commit')
  if (early && outcome !== 'committed') faults.push('websocket_before_commit: shown, and then rolled back')
  if (untold) faults.push('missing_rollback_notification: rolled back without a word to its user')
  if (contradicted) faults.push('the caller heard another outcome than the database holds')
  if (lost > 0) faults.push('an event was lost')
  if (repeated > 0) faults.push('an event came twice')
  return faults
}

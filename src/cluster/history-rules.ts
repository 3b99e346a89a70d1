import { LockstepError } from '../core/index.ts'
import type { HistoryRow } from '../postgres/index.ts'
import { mutationPoint } from '../protocol/mutation-point.ts'

/** How often a lease was renewed, as far as its node was answered. */
export interface LeaseMark {
  readonly node: string
  readonly renewals: number
  /** Time of the database's answer, by its own clock, in milliseconds of Unix time. */
  readonly atMs: number
}

/** A lease that ran out so long ago may have been deleted (`forgetNodes`), in milliseconds. */
const leaseKeptMs = 24 * 60 * 60 * 1_000

/**
 * The old primary, reached by a name that still leads there, or a backup with the epoch of its day. Nothing tells the one
 * from the other, so the operator does.
 */
export function leftError(epoch: string, current: string): LockstepError {
  return new LockstepError('LS_DATABASE_UNREACHABLE', {
    message:
      `The server holds the epoch ${epoch}, which was left before ${current}. If it is an old primary, stop it, or keep ` +
      'connections from it. If it is the database from now on (a restored backup, say), run `lockstep epoch renew` on it.',
  })
}

/**
 * Reason why the server does not hold the history that the epoch names; undefined when it does, as far as can be told.
 */
export function reasonOf(row: HistoryRow, known: string, mark: LeaseMark | undefined): string | undefined {
  if (row.is_other === 'true' && !mutationPoint('another server unnoticed'))
    return 'the server is another one, or was promoted'
  if (mutationPoint('renewals that are gone unnoticed')) return undefined
  // Skip the comparison when another node was first: the lease may be one of the new history by now.
  if (mark === undefined || row.epoch !== known) return undefined
  if (row.renewals === null && Number(row.now_ms) - mark.atMs >= leaseKeptMs) return undefined
  if (row.renewals !== null && Number(row.renewals) >= mark.renewals) return undefined
  return 'renewals of the lease of this node are gone'
}

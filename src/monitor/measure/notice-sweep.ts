import { operationKey, type OperationRef, type Queryable } from '../../core/index.ts'
import {
  confirmMissingNotices,
  findMissingNotices,
  type SettledCursor,
  type MissingNoticeRow,
} from '../../postgres/index.ts'
import type { Violation } from '../model/kinds.ts'

export interface NoticeSweepOptions {
  readonly own: Queryable
  readonly schema: string
  readonly onMissing: (found: Omit<Violation, 'node'>) => void
  /** How far back anything is looked at: what is older may have lost its notice to the retention of events. */
  readonly reachMs: number
  /** How long an operation has been rolled back before its notice is missed. Default 2,000. */
  readonly graceMs?: number
}

const page = 1_000
/** How far back the slow walk goes, and the quick one begins. */
const hourMs = 3_600_000
/** Events of a user's channel in which a notice is looked for first; without it there, in all of them. */
const depth = 2_000
/** Settled is not yet visible: what commits late is looked at again. */
const overlapMs = 5_000
const firstId = '00000000-0000-0000-0000-000000000000'

/**
 * Finds rolled-back operations whose user has no notice, from the log alone. A quick walk follows what was just
 * settled; a slow one goes over the last hour again and again, for what was lost later. Both go by the index of
 * rolled-back operations. Nodes need not agree who sweeps: a violation is stored once.
 */
export class NoticeSweep {
  readonly #own: Queryable
  readonly #schema: string
  readonly #onMissing: (found: Omit<Violation, 'node'>) => void
  readonly #reachMs: number
  readonly #graceMs: number
  #quick: SettledCursor | undefined
  #slow: SettledCursor | undefined

  constructor(options: NoticeSweepOptions) {
    this.#own = options.own
    this.#schema = options.schema
    this.#onMissing = options.onMissing
    this.#reachMs = options.reachMs
    this.#graceMs = options.graceMs ?? 2_000
  }

  /** @throws database errors; the next call goes on from the same place */
  async quick(nowMs: number): Promise<void> {
    const after = this.#within(this.#quick, nowMs)
    const { last, isFull } = await this.#sweep(after)
    if (last === undefined) return
    // The walk goes right on behind a full page; else it looks again at what commits late, with an earlier time.
    this.#quick = isFull
      ? last
      : {
          settledUs: Math.max(after.settledUs, Math.min(last.settledUs, nowMs * 1000) - overlapMs * 1000),
          id: firstId,
        }
  }

  /** @throws database errors; the next call goes on from the same place */
  async slow(nowMs: number): Promise<void> {
    const { last, isFull } = await this.#sweep(this.#within(this.#slow, nowMs))
    this.#slow = isFull ? last : undefined
  }

  #within(cursor: SettledCursor | undefined, nowMs: number): SettledCursor {
    const atLeastUs =
      (nowMs - (cursor === undefined ? Math.min(hourMs, this.#reachMs) : this.#reachMs)) * 1000
    return cursor !== undefined && cursor.settledUs > atLeastUs
      ? cursor
      : { settledUs: atLeastUs, id: firstId }
  }

  async #sweep(
    after: SettledCursor,
  ): Promise<{ readonly last: SettledCursor | undefined; readonly isFull: boolean }> {
    const { rows } = await this.#own.query<MissingNoticeRow>(
      findMissingNotices(this.#schema, { after, graceMs: this.#graceMs, limit: page, depth }),
    )
    const suspects = new Map(rows.filter((row) => row.isMissing).map((row) => [operationKey(row), row]))
    if (suspects.size > 0) {
      const confirmed = await this.#own.query<OperationRef>(
        confirmMissingNotices(this.#schema, [...suspects.values()]),
      )
      for (const operation of confirmed.rows) {
        const row = suspects.get(operationKey(operation))
        if (row !== undefined) this.#onMissing(toViolation(row))
      }
    }
    const end = rows.find((row) => !row.isMissing)
    if (end === undefined) return { last: undefined, isFull: false }
    return { last: { settledUs: end.settled_us, id: end.id }, isFull: end.looked_at >= page }
  }
}

function toViolation(row: MissingNoticeRow): Omit<Violation, 'node'> {
  return {
    kind: 'missing_rollback_notification',
    operationId: row.id,
    userId: row.userId,
    operation: row.name,
    layers: ['database', 'notice'],
    at: row.settled_us / 1000,
    detail: 'the operation was rolled back, and its user has no notice in the log',
  }
}

import type { Queryable } from '../../core/index.ts'
import { insertViolations, type ViolationRow } from '../../postgres/index.ts'
import { toViolationRow } from './violation-row.ts'
import type { Violation } from '../model/kinds.ts'

export interface ViolationQueueOptions {
  readonly own: Queryable
  readonly schema: string
  /** Called for a violation that no node had stored before. */
  readonly onStored: (violation: Violation) => void
  /** Limit of waiting violations. Default 10,000. */
  readonly mostWaiting?: number
  /**
   * Limit of violations that one flush stores; with four ticks a second it bounds the rows of a second. Default 250.
   */
  readonly mostPerFlush?: number
}

/** Carries violations to the table, in batches; what is beyond its bounds is refused, for its caller to count. */
export class ViolationQueue {
  readonly #own: Queryable
  readonly #schema: string
  readonly #onStored: (violation: Violation) => void
  readonly #mostWaiting: number
  readonly #mostPerFlush: number
  #waiting: Violation[] = []

  constructor(options: ViolationQueueOptions) {
    this.#own = options.own
    this.#schema = options.schema
    this.#onStored = options.onStored
    this.#mostWaiting = options.mostWaiting ?? 10_000
    this.#mostPerFlush = options.mostPerFlush ?? 250
  }

  get isFull(): boolean {
    return this.#waiting.length >= this.#mostWaiting
  }

  /** False: there are too many. */
  offer(violation: Violation): boolean {
    if (this.isFull) return false
    this.#waiting.push(violation)
    return true
  }

  get size(): number {
    return this.#waiting.length
  }

  /** Stores one batch. @throws database errors; the batch waits for the next flush then */
  async flush(): Promise<void> {
    const batch = this.#waiting.slice(0, this.#mostPerFlush)
    if (batch.length === 0) return
    const { rows } = await this.#own.query<Pick<ViolationRow, 'operation_id' | 'user_id' | 'kind'>>(
      insertViolations(this.#schema, batch.map(toViolationRow)),
    )
    this.#waiting = this.#waiting.slice(batch.length)
    const stored = new Set(rows.map((row) => keyOf(row.kind, row.operation_id, row.user_id)))
    for (const violation of batch) {
      if (stored.delete(keyOf(violation.kind, violation.operationId, violation.userId)))
        this.#onStored(violation)
    }
  }
}

/** Key under which two violations are the same one. */
export function keyOf(kind: string, operationId: string, userId = ''): string {
  return JSON.stringify([kind, operationId, userId])
}

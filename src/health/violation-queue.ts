import type { Queryable } from '../core/index.ts'
import { insertViolations, type ViolationRow } from '../postgres/index.ts'
import { toViolationRow } from './clean.ts'
import type { Violation } from './kinds.ts'

export interface ViolationQueueOptions {
  readonly own: Queryable
  readonly schema: string
  /** Nobody had stored it before. */
  readonly onStored: (violation: Violation) => void
  /** Most that wait. Default 10,000. */
  readonly mostWaiting?: number
  /** Most that one flush stores; with four ticks a second it bounds the rows of a second. Default 250. */
  readonly mostPerFlush?: number
}

/** Carries violations to the table, in batches; what is beyond its bounds is refused, for its caller to count. */
export class ViolationQueue {
  readonly #options: ViolationQueueOptions
  #waiting: Violation[] = []

  constructor(options: ViolationQueueOptions) {
    this.#options = options
  }

  get isFull(): boolean {
    return this.#waiting.length >= (this.#options.mostWaiting ?? 10_000)
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
    const { own, schema, onStored, mostPerFlush = 250 } = this.#options
    const batch = this.#waiting.slice(0, mostPerFlush)
    if (batch.length === 0) return
    const { rows } = await own.query<Pick<ViolationRow, 'operation_id' | 'user_id' | 'kind'>>(
      insertViolations(schema, batch.map(toViolationRow)),
    )
    this.#waiting = this.#waiting.slice(batch.length)
    const stored = new Set(rows.map((row) => keyOf(row.kind, row.operation_id, row.user_id)))
    for (const violation of batch) {
      if (stored.delete(keyOf(violation.kind, violation.operationId, violation.userId))) onStored(violation)
    }
  }
}

/** What makes two violations the same one. */
export function keyOf(kind: string, operationId: string, userId = ''): string {
  return JSON.stringify([kind, operationId, userId])
}

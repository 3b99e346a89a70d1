import type { Queryable } from '../../core/index.ts'
import {
  insertRollUp,
  readRollUps,
  trimHealth,
  type ReadRollUpRow,
  type RollUpRow,
} from '../../postgres/index.ts'
import { DedupWindow } from '../model/dedup-window.ts'
import type { RollUp } from '../measure/open-roll-up.ts'

export interface RollUpStoreOptions {
  readonly own: Queryable
  readonly schema: string
  /** Hears of roll-ups of this node as they are made, of others as they are read; each once. */
  readonly onRollUp: (rollUp: RollUp) => void
}

const page = 500
/** Roll-ups that wait for the database; with 10 s each, an hour. */
const mostWaiting = 360
/** A roll-up may become visible after one that was written later. */
const overlapMs = 15_000
const retentionMs = 7 * 86_400_000

/** Writes what this node measured, and reads what the others did. */
export class RollUpStore {
  readonly #own: Queryable
  readonly #schema: string
  readonly #onRollUp: (rollUp: RollUp) => void
  readonly #seen = new DedupWindow(8_192)
  #waiting: RollUp[] = []
  #readUntilMs = 0

  constructor(options: RollUpStoreOptions) {
    this.#own = options.own
    this.#schema = options.schema
    this.#onRollUp = options.onRollUp
  }

  /** Adds a roll-up to this node's history at once; the table gets it with the next `write`. */
  add(rollUp: RollUp): void {
    this.#seen.add(rollUp.id)
    this.#waiting.push(rollUp)
    if (this.#waiting.length > mostWaiting) this.#waiting.shift()
    this.#onRollUp(rollUp)
  }

  /** @throws database errors; what was not written stays for the next time */
  async write(): Promise<void> {
    for (let first = this.#waiting[0]; first !== undefined; first = this.#waiting[0]) {
      await this.#own.query(insertRollUp(this.#schema, toRow(first)))
      if (this.#waiting[0] === first) this.#waiting.shift()
    }
  }

  /** Reads what was written since the last call, at first since `sinceMs`. @throws database errors */
  async read(sinceMs: number): Promise<void> {
    let afterMs = Math.max(sinceMs, this.#readUntilMs - overlapMs)
    for (;;) {
      const { rows } = await this.#own.query<ReadRollUpRow>(readRollUps(this.#schema, afterMs, page))
      for (const row of rows) {
        if (this.#seen.add(row.id)) this.#onRollUp(toRollUp(row))
        afterMs = Math.max(afterMs, row.written_ms)
        // Advance by rows that were read alone: `sinceMs` is off for as long as this node does not know the database's
        // clock.
        this.#readUntilMs = Math.max(this.#readUntilMs, row.written_ms)
      }
      if (rows.length < page) return
    }
  }

  /** @throws database errors */
  async trim(): Promise<void> {
    for (const statement of trimHealth(this.#schema, retentionMs)) {
      await this.#own.query(statement)
    }
  }
}

function toRow(rollUp: RollUp): RollUpRow {
  return {
    id: rollUp.id,
    node: rollUp.node,
    at_ms: rollUp.atMs,
    operations: rollUp.operations,
    breaches: rollUp.breaches,
    breaches_beyond: rollUp.breachesBeyond,
    unwatched: rollUp.unwatched,
    not_stored: rollUp.notStored,
    gaps: rollUp.gaps,
    violations: rollUp.violations,
    gauges: { ...rollUp.gauges },
  }
}

function toRollUp(row: RollUpRow): RollUp {
  return {
    id: row.id,
    node: row.node,
    atMs: row.at_ms,
    operations: row.operations,
    breaches: row.breaches,
    breachesBeyond: row.breaches_beyond,
    unwatched: row.unwatched,
    notStored: row.not_stored,
    gaps: row.gaps,
    violations: row.violations,
    gauges: row.gauges as unknown as RollUp['gauges'],
  }
}

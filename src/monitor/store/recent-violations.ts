import type { Queryable } from '../../core/index.ts'
import { readViolations, type ViolationRow } from '../../postgres/index.ts'
import type { Violation } from '../model/kinds.ts'
import { fromViolationRow } from './violation-row.ts'

const mostRecent = 100

/** The newest hundred violations. */
export class RecentViolations {
  readonly #own: Queryable
  readonly #schema: string
  /** Violations that this node stored, for when the table cannot be read. */
  readonly #stored: Violation[] = []

  constructor(own: Queryable, schema: string) {
    this.#own = own
    this.#schema = schema
  }

  /** Notes a violation that this node has stored. */
  stored(violation: Violation): void {
    this.#stored.push(violation)
    if (this.#stored.length > mostRecent) this.#stored.shift()
  }

  /** Reads those of the cluster; of this node, while the database is away. Newest first. */
  async read(): Promise<readonly Violation[]> {
    try {
      const { rows } = await this.#own.query<ViolationRow>(readViolations(this.#schema, mostRecent))
      return rows.map(fromViolationRow)
    } catch {
      return this.#stored.toReversed()
    }
  }
}

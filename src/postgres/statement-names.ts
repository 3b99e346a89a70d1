import { sqlState } from './sqlstate.ts'

/** `invalid_sql_statement_name`, `duplicate_prepared_statement`. */
const poolerStates = new Set(['26000', '42P05'])

/**
 * Lockstep's own hot statements are prepared once for each connection, which saves parsing and planning. Behind a
 * pooler that hands each transaction another server connection and does not know of prepared statements (PgBouncer
 * before 1.21, or with `max_prepared_statements = 0`), they are not there when they are used: the first such answer
 * turns the names off for good.
 */
export class StatementNames {
  #isOn: boolean

  constructor(isOn: boolean) {
    this.#isOn = isOn
  }

  of(name: string | undefined): string | undefined {
    return this.#isOn ? name : undefined
  }

  /** True for an answer after which the statement is to be sent again without its name. */
  wasLost(error: unknown): boolean {
    if (!poolerStates.has(sqlState(error) ?? '')) return false
    this.#isOn = false
    return true
  }
}

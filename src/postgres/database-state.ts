import type { DatabaseTrouble } from '../core/index.ts'
import { databaseErrorCode, sqlState } from './sqlstate.ts'

/** How long an error about the database's state is worth telling, in milliseconds. */
const worthTellingMs = 5_000
/** Code that writes in a read-only transaction of its own must not cost the pool its connections all the time. */
const mostOftenOutdatedMs = 1_000

/**
 * True where an error tells of the database, and not of what was asked: the same statement may succeed later, or over another
 * connection. Postgres manual, appendix A: read-only (a demoted primary), class 53 (disk, memory, connections), 57P01 to
 * 57P04 (shutdown, crash, start, a database that was dropped), errors of the system.
 */
export function isDatabaseState(error: unknown): boolean {
  const state = sqlState(error)
  if (state === undefined) return databaseErrorCode(error) === 'LS_DATABASE_UNREACHABLE'
  return /^(?:25006|53...|57P0[1-4]|58000|58030)$/.test(state)
}

/** The state of the database, as far as the errors of all connections tell it. */
export class DatabaseState {
  #last: { readonly error: unknown; readonly at: number } | undefined
  #readOnlyAt = Number.NEGATIVE_INFINITY

  /** Answers whether it was such an error; its connection is not worth keeping then. */
  note(error: unknown): boolean {
    if (!isDatabaseState(error)) return false
    const at = performance.now()
    this.#last = { error, at }
    if (sqlState(error) === '25006' && at - this.#readOnlyAt > mostOftenOutdatedMs) this.#readOnlyAt = at
    return true
  }

  /** Whether a connection was made before the server was found to be read-only: it may lead to a former primary. */
  isOutdated(connectedAt: number): boolean {
    return connectedAt < this.#readOnlyAt
  }

  trouble(): DatabaseTrouble | undefined {
    if (this.#last === undefined) return undefined
    const { error, at } = this.#last
    const agoMs = Math.round(performance.now() - at)
    if (agoMs > worthTellingMs) return undefined
    const state = sqlState(error)
    const code = databaseErrorCode(error) ?? 'LS_DATABASE_UNREACHABLE'
    return { code, ...(state === undefined ? {} : { sqlState: state }), agoMs }
  }
}

import { mutationPoint } from '../protocol/mutation-point.ts'
import { isLockstepError, type DatabaseTrouble, type ErrorCode, type LockstepError } from '../core/index.ts'
import { databaseErrorCode, sqlState } from './sqlstate.ts'

/** How long an error about the database's state is worth telling, in milliseconds. */
const worthTellingMs = 5_000
/** Code that writes in a read-only transaction of its own must not cost the pool its connections all the time. */
const mostOftenOutdatedMs = 1_000

/** Codes of a driver without an answer of the server: no connection, and a login that it could not send. */
const isOfState: ReadonlySet<ErrorCode | undefined> = new Set([
  'LS_DATABASE_UNREACHABLE',
  'LS_DATABASE_REFUSED',
])

/**
 * True where an error tells of the database, and not of what was asked: the same statement may succeed later, or over another
 * connection. Postgres manual, appendix A: read-only (a demoted primary), class 53 (disk, memory, connections), 57P01 to
 * 57P04 (shutdown, crash, start, a database that was dropped), a login that is refused, errors of the system.
 */
export function isDatabaseState(error: unknown): boolean {
  const state = sqlState(error)
  if (state === undefined) return isOfState.has(databaseErrorCode(error))
  return ofDatabase.test(state)
}

const ofDatabase = /^(?:25006|28000|28P01|3D000|53...|57P0[1-4]|58000|58030)$/

/**
 * True where the server refused a statement of Lockstep's own for what is in it, whatever raised that: a constraint, a
 * trigger, a lock. False for a lost connection, and for the state of the database.
 */
export function isOfStatement(error: unknown): boolean {
  const state = isLockstepError(error) ? error.details['sqlState'] : undefined
  return typeof state === 'string' && !/^(?:08...|57P..)$/.test(state) && !ofDatabase.test(state)
}

/** The state of the database, as far as the errors of all connections tell it. */
export class DatabaseState {
  readonly #isClosed: () => boolean
  #last: { readonly error: unknown; readonly at: number } | undefined
  #readOnlyAt = Number.NEGATIVE_INFINITY

  /** @param isClosed whether the application has closed the database, for good */
  constructor(isClosed: () => boolean = () => false) {
    this.#isClosed = isClosed
  }

  /**
   * Notes an error that tells of the database's state, and answers whether it was one; its connection is then not worth
   * keeping.
   */
  note(error: unknown, mappedError?: LockstepError): boolean {
    const isMissing = mappedError?.code === 'LS_SCHEMA_MISSING'
    if (isMissing) this.#last = { error: mappedError, at: performance.now() }
    if (isMissing || !isDatabaseState(error)) return false
    const at = performance.now()
    this.#last = { error, at }
    if (sqlState(error) === '25006' && at - this.#readOnlyAt > mostOftenOutdatedMs) this.#readOnlyAt = at
    return true
  }

  /** Whether a connection was made before the server was found to be read-only: it may lead to a former primary. */
  isOutdated(connectedAt: number): boolean {
    return connectedAt < this.#readOnlyAt && !mutationPoint('connections to a demoted primary used again')
  }

  trouble(): DatabaseTrouble | undefined {
    if (this.#isClosed()) return { code: 'LS_DATABASE_CLOSED', agoMs: 0 }
    if (this.#last === undefined) return undefined
    const { error, at } = this.#last
    const agoMs = Math.round(performance.now() - at)
    if (agoMs > worthTellingMs) return undefined
    const state = sqlState(isLockstepError(error) ? error.cause : error)
    const code = databaseErrorCode(error) ?? 'LS_DATABASE_UNREACHABLE'
    return { code, ...(state === undefined ? {} : { sqlState: state }), agoMs }
  }
}

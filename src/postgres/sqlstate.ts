import {
  causesOf,
  isError,
  isLockstepError,
  LockstepError,
  messageOf,
  peek,
  peekList,
  type ErrorCode,
} from '../core/index.ts'

/**
 * The one place where SQLSTATE becomes a catalogue code. Sources: Postgres manual, appendix A; LS002 is raised by
 * Lockstep's own functions (sql/migrations).
 */
const exact: Readonly<Record<string, ErrorCode>> = {
  LS002: 'LS_TRANSACTION_CONTROL',
  // COMMIT or ROLLBACK in a procedure or a block of plpgsql.
  '2D000': 'LS_TRANSACTION_CONTROL',
  '25006': 'LS_DATABASE_READ_ONLY',
  '25P02': 'LS_TRANSACTION_ABORTED',
  '25P03': 'LS_STATEMENT_TIMEOUT',
  '25P04': 'LS_STATEMENT_TIMEOUT',
  '42501': 'LS_DATABASE_RIGHTS',
  '40001': 'LS_SERIALIZATION_FAILURE',
  '40P01': 'LS_SERIALIZATION_FAILURE',
  '53300': 'LS_POOL_EXHAUSTED',
  '55P03': 'LS_STATEMENT_TIMEOUT',
  '57014': 'LS_STATEMENT_TIMEOUT',
  '57P01': 'LS_CONNECTION_LOST',
  '57P02': 'LS_CONNECTION_LOST',
  '57P03': 'LS_DATABASE_UNREACHABLE',
  '57P04': 'LS_DATABASE_UNREACHABLE',
  '57P05': 'LS_CONNECTION_LOST',
  '58000': 'LS_DATABASE_RESOURCES',
  '58030': 'LS_DATABASE_RESOURCES',
}

const byClass: Readonly<Record<string, ErrorCode>> = {
  '08': 'LS_CONNECTION_LOST',
  '22': 'LS_DATA_INVALID',
  '23': 'LS_CONSTRAINT_VIOLATED',
  '53': 'LS_DATABASE_RESOURCES',
}

/** Of the outcomes: one that is violated means that the operation has been settled by somebody else. */
const oneOutcome = 'lockstep_one_outcome'

const unreachable = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ETIMEDOUT',
  'ENOENT',
])
const lost = new Set(['ECONNRESET', 'EPIPE', 'ERR_STREAM_DESTROYED'])

/** SQLSTATE of an error response of the server, or undefined when the error is not one. */
export function sqlState(error: unknown): string | undefined {
  const code = peek(error, 'code')
  if (typeof code !== 'string' || !/^[0-9A-Z]{5}$/.test(code)) return undefined
  // A code of the system, such as EPIPE, has no digit; a state that an application raises may have none either.
  return /\d/.test(code) || peek(error, 'severity') !== undefined ? code : undefined
}

const databaseErrors = new WeakSet<object>()

/** Remembers that an error came from the database, whatever it looks like, and in whatever it is wrapped later. */
export function noteDatabaseError(error: unknown): void {
  if (typeof error === 'object' && error !== null) databaseErrors.add(error)
}

/**
 * True when the server answered with an error, unless it is of a class that says that the connection has ended. If the
 * server lives on, which only the next statement shows, the statement, and a COMMIT with it, has certainly failed. A
 * FATAL answer is not that: it can follow a COMMIT that took effect (a terminated wait for a synchronous replica, for
 * one), and a pooler whose server has gone may give it any state at all.
 */
export function isErrorResponse(error: unknown): boolean {
  const state = sqlState(error)
  return state !== undefined && !state.startsWith('08') && !state.startsWith('57P')
}

/** True for an answer of the server, and for a connection that is lost; false for what a driver refuses to send. */
export function isOfDatabase(error: unknown): boolean {
  return sqlState(error) !== undefined || databaseErrorCode(error) !== undefined
}

/**
 * The catalogue code for an error that the code of an operation threw: of the outermost one that has any, since ORMs wrap
 * what they get. That a host cannot be reached is said of the database only where the error came from there.
 */
export function thrownErrorCode(thrown: unknown): ErrorCode | undefined {
  for (const error of causesOf(thrown)) {
    const code = isOfAnother(error) ? undefined : databaseErrorCode(error)
    if (code !== undefined) return code
  }
  return undefined
}

/** A code of the system, such as ECONNREFUSED, from whatever else the code talks to. */
function isOfAnother(error: object): boolean {
  if (isLockstepError(error) || databaseErrors.has(error) || sqlState(error) !== undefined) return false
  return peek(error, 'code') !== undefined
}

/** The catalogue code for an error of a driver, or undefined for one that did not come from the database. */
export function databaseErrorCode(error: unknown): ErrorCode | undefined {
  if (isLockstepError(error)) return error.code
  const code = codeOf(error)
  if (code !== undefined) return code
  // Node tries every address of a name and reports the failures together.
  return peekList(error, 'errors')
    .map(codeOf)
    .find((one) => one !== undefined)
}

function codeOf(error: unknown): ErrorCode | undefined {
  const state = sqlState(error)
  if (peek(error, 'constraint') === oneOutcome) return 'LS_OPERATION_FENCED'
  if (state !== undefined) return exact[state] ?? byClass[state.slice(0, 2)]
  const code = peek(error, 'code')
  if (typeof code === 'string') {
    if (unreachable.has(code)) return 'LS_DATABASE_UNREACHABLE'
    if (lost.has(code)) return 'LS_CONNECTION_LOST'
  }
  return driverCode(error)
}

/** The error as one of the catalogue; errors that have no better code become the given one. */
export function toLockstepError(error: unknown, fallback: ErrorCode = 'LS_OPERATION_FAILED'): LockstepError {
  if (isLockstepError(error)) return error
  const code = databaseErrorCode(error) ?? fallback
  const state = sqlState(error)
  return new LockstepError(code, {
    ...(isError(error) ? { message: messageOf(error) } : {}),
    ...(state === undefined ? {} : { details: { sqlState: state } }),
    cause: error,
  })
}

// pg reports a dead connection by these texts and no code at all (measured with pg 8.23).
function driverCode(error: unknown): ErrorCode | undefined {
  if (!isError(error)) return undefined
  const message = messageOf(error)
  if (message.startsWith('timeout exceeded when trying to connect')) return 'LS_POOL_EXHAUSTED'
  if (/^(Connection terminated|Client has encountered a connection error|Client was closed)/.test(message)) {
    return 'LS_CONNECTION_LOST'
  }
  if (/^(Query read timeout|Cannot use a pool after calling end)/.test(message)) return 'LS_CONNECTION_LOST'
  return undefined
}

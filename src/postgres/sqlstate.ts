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
import { adviceOnMissing, explained, isOfClosed, isOfLogin } from './database-advice.ts'

/**
 * The one place where SQLSTATE becomes a catalogue code. Sources: Postgres manual, appendix A; those that begin with LS are raised
 * by Lockstep's own functions (sql/migrations).
 */
const exact: Readonly<Record<string, ErrorCode>> = {
  LS002: 'LS_TRANSACTION_CONTROL',
  LS003: 'LS_RUN_LOST',
  LS004: 'LS_RUN_STOPPED',
  // COMMIT or ROLLBACK in a procedure or a block of plpgsql.
  '2D000': 'LS_TRANSACTION_CONTROL',
  '25006': 'LS_DATABASE_READ_ONLY',
  '25P02': 'LS_TRANSACTION_ABORTED',
  '25P03': 'LS_TRANSACTION_IDLE',
  '25P04': 'LS_TRANSACTION_TIMEOUT',
  '28000': 'LS_DATABASE_REFUSED',
  '28P01': 'LS_DATABASE_REFUSED',
  '3D000': 'LS_DATABASE_REFUSED',
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

/** Constraints of Lockstep's tables whose violation says what has happened. */
const byConstraint: Readonly<Record<string, ErrorCode>> = {
  // Another settlement has decided the operation.
  lockstep_one_outcome: 'LS_OPERATION_FENCED',
  // Another try of the step has committed.
  lockstep_one_step: 'LS_OPERATION_FENCED',
  lockstep_one_run: 'LS_OPERATION_ID_REUSED',
}

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
  const ofConstraint = codeOfConstraint(peek(error, 'constraint'))
  if (ofConstraint !== undefined) return ofConstraint
  if (state !== undefined) return exact[state] ?? byClass[state.slice(0, 2)]
  const code = peek(error, 'code')
  if (typeof code === 'string') {
    if (unreachable.has(code)) return 'LS_DATABASE_UNREACHABLE'
    if (lost.has(code)) return 'LS_CONNECTION_LOST'
  }
  return driverCode(error)
}

function codeOfConstraint(name: unknown): ErrorCode | undefined {
  return typeof name === 'string' && Object.hasOwn(byConstraint, name) ? byConstraint[name] : undefined
}

/** The error as one of the catalogue; errors that have no better code become the given one. */
export function toLockstepError(error: unknown, fallback: ErrorCode = 'LS_OPERATION_FAILED'): LockstepError {
  if (isLockstepError(error)) return error
  const code = databaseErrorCode(error) ?? fallback
  const state = sqlState(error)
  return new LockstepError(code, {
    ...(isError(error) ? { message: explained(error) } : {}),
    ...(state === undefined ? {} : { details: { sqlState: state } }),
    cause: error,
  })
}

/**
 * Maps an error of one of Lockstep's own statements, as `toLockstepError` does: a refusal of the server is no lost
 * connection.
 * @param schemaName of Lockstep's tables, unquoted
 */
export function toOwnError(error: unknown, schemaName: string): LockstepError {
  if (isOfMissing(error, schemaName)) {
    return new LockstepError('LS_SCHEMA_MISSING', {
      message: `${messageOf(error)}. ${adviceOnMissing(schemaName)}`,
      details: { sqlState: sqlState(error) },
      cause: error,
    })
  }
  const isOfServer = sqlState(error) !== undefined && isErrorResponse(error)
  return toLockstepError(error, isOfServer ? 'LS_INTERNAL' : 'LS_CONNECTION_LOST')
}

/** The error of a flush, which calls triggers of the application too: the driver's own, unless it needs explaining. */
export function toFlushError(error: unknown, schemaName: string): unknown {
  return isOfMissing(error, schemaName) ? toOwnError(error, schemaName) : error
}

/** A schema, a table or a function that is not there. The text names it, in whatever language. */
function isOfMissing(error: unknown, schemaName: string): boolean {
  if (!missing.has(sqlState(error) ?? '')) return false
  const text = messageOf(error)
  return text.includes(`"${schemaName}`) || text.includes(`${schemaName}.`)
}

const missing: ReadonlySet<string> = new Set(['3F000', '42P01', '42883'])

// pg reports a dead connection by these texts and no code at all (measured with pg 8.23).
function driverCode(error: unknown): ErrorCode | undefined {
  if (!isError(error)) return undefined
  const message = messageOf(error)
  if (message.startsWith('timeout exceeded when trying to connect')) return 'LS_POOL_EXHAUSTED'
  if (/^(Connection terminated|Client has encountered a connection error|Client was closed)/.test(message)) {
    return 'LS_CONNECTION_LOST'
  }
  if (isOfLogin.test(message)) return 'LS_DATABASE_REFUSED'
  if (message.startsWith('Query read timeout')) return 'LS_CONNECTION_LOST'
  if (isOfClosed.test(message)) return 'LS_DATABASE_CLOSED'
  return undefined
}

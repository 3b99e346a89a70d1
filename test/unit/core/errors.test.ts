import { describe, expect, test } from 'vitest'
import {
  errorCatalogue,
  isLockstepError,
  LockstepError,
  messageOf,
  type ErrorCode,
} from '../../../src/core/index.ts'
import { databaseErrorCode, toLockstepError } from '../../../src/postgres/index.ts'
import { isErrorResponse, toOwnError } from '../../../src/postgres/sqlstate.ts'
import { limits, replyCodes, temporaryReplyCodes } from '../../../src/protocol/index.ts'

const codes = Object.keys(errorCatalogue) as ErrorCode[]

describe('the error catalogue', () => {
  test.each(codes)('%s has a public text and a reply', (code) => {
    const { publicMessage, reply } = errorCatalogue[code]
    expect(code).toMatch(/^LS_[A-Z]+(_[A-Z]+)*$/)
    expect(publicMessage).toMatch(/^[A-Z].*\.$/)
    // Public texts have no word that only an operator should read.
    expect(publicMessage).not.toMatch(/postgres|sql|table|column|stack|localhost|\d+\.\d+/i)
    expect(Object.values(replyCodes)).toContain(reply)
    expect(publicMessage.length).toBeLessThanOrEqual(limits.maxCloseReasonBytes)
  })

  test.each(codes)('a retryable %s is not answered with a reply that ends a client for good', (code) => {
    const { retryable, reply } = errorCatalogue[code]
    expect(!retryable || temporaryReplyCodes.has(reply)).toBe(true)
  })

  test('an error shows its own text to the log and the public one to everybody', () => {
    const cause = new Error('socket closed')
    const error = new LockstepError('LS_DATABASE_UNREACHABLE', {
      message: 'db-7.internal:5432 refused',
      details: { port: 5432 },
      cause,
    })
    expect(error).toMatchObject({
      name: 'LockstepError',
      message: 'db-7.internal:5432 refused',
      publicMessage: errorCatalogue.LS_DATABASE_UNREACHABLE.publicMessage,
      retryable: true,
      details: { port: 5432 },
      cause,
    })
    expect(new LockstepError('LS_FORBIDDEN').message).toBe(errorCatalogue.LS_FORBIDDEN.publicMessage)
    expect('cause' in new LockstepError('LS_FORBIDDEN')).toBe(false)
  })

  test('is matched by code', () => {
    const error = new LockstepError('LS_FORBIDDEN')
    expect(isLockstepError(error)).toBe(true)
    expect(isLockstepError(error, 'LS_FORBIDDEN')).toBe(true)
    expect(isLockstepError(error, 'LS_UNAUTHENTICATED')).toBe(false)
    expect(isLockstepError({ code: 'LS_FORBIDDEN' })).toBe(false)
  })

  test('of another copy of the package is an error of the catalogue all the same', async () => {
    const path = '../../../src/core/errors.ts?copy'
    const copy = (await import(path)) as { readonly LockstepError: typeof LockstepError }
    const error = new copy.LockstepError('LS_UNAUTHENTICATED', { details: { expired: true } })
    expect(error).not.toBeInstanceOf(LockstepError)
    expect(isLockstepError(error, 'LS_UNAUTHENTICATED')).toBe(true)
    expect(toLockstepError(error)).toBe(error)
  })

  test.each([
    [new Error('x'), 'x'],
    ['x', 'x'],
    [undefined, 'undefined'],
    [null, 'null'],
  ])('the text of %o is %j', (thrown, text) => {
    expect(messageOf(thrown)).toBe(text)
  })
})

describe('an error of the database', () => {
  test.each([
    ['LS002', 'LS_TRANSACTION_CONTROL'],
    ['25P02', 'LS_TRANSACTION_ABORTED'],
    ['40001', 'LS_SERIALIZATION_FAILURE'],
    ['40P01', 'LS_SERIALIZATION_FAILURE'],
    ['55P03', 'LS_STATEMENT_TIMEOUT'],
    ['57014', 'LS_STATEMENT_TIMEOUT'],
    ['57P01', 'LS_CONNECTION_LOST'],
    ['08006', 'LS_CONNECTION_LOST'],
    ['23505', 'LS_CONSTRAINT_VIOLATED'],
    ['23514', 'LS_CONSTRAINT_VIOLATED'],
    ['22P02', 'LS_DATA_INVALID'],
    ['53300', 'LS_POOL_EXHAUSTED'],
    ['ECONNREFUSED', 'LS_DATABASE_UNREACHABLE'],
    ['ECONNRESET', 'LS_CONNECTION_LOST'],
  ])('%s is %s', (code, expected) => {
    expect(databaseErrorCode(Object.assign(new Error('x'), { code }))).toBe(expected)
  })

  test.each([new Error('x'), Object.assign(new Error('x'), { code: '42P01' }), 'x', null, undefined, {}])(
    'has no code of its own: %o',
    (thrown) => {
      expect(databaseErrorCode(thrown)).toBeUndefined()
      expect(toLockstepError(thrown).code).toBe('LS_OPERATION_FAILED')
      expect(toLockstepError(thrown, 'LS_CONNECTION_LOST').code).toBe('LS_CONNECTION_LOST')
    },
  )

  test.each([
    ['3F000', 'Schema »lockstep« existiert nicht: "lockstep"', 'LS_SCHEMA_MISSING'],
    ['42P01', 'relation "lockstep.nodes" does not exist', 'LS_SCHEMA_MISSING'],
    ['42883', 'function lockstep.flush_event(text) does not exist', 'LS_SCHEMA_MISSING'],
    ['42P01', 'relation "orders" does not exist', 'LS_INTERNAL'],
    ['P0001', 'no', 'LS_INTERNAL'],
    ['XX000', 'cache lookup failed', 'LS_INTERNAL'],
    ['57P01', 'terminating connection', 'LS_CONNECTION_LOST'],
    ['23505', 'duplicate key', 'LS_CONSTRAINT_VIOLATED'],
  ])('%s of a statement of Lockstep’s own, with the text %s, is %s', (code, text, expected) => {
    const error = toOwnError(Object.assign(new Error(text), { code, severity: 'ERROR' }), 'lockstep')
    expect(error).toMatchObject({ code: expected, details: { sqlState: code } })
  })

  test('of the index of outcomes is a fence, and of any other index is not', () => {
    const violated = (constraint: string) =>
      databaseErrorCode(Object.assign(new Error('duplicate key'), { code: '23505', constraint }))
    expect(violated('lockstep_one_outcome')).toBe('LS_OPERATION_FENCED')
    expect(violated('operations_pkey')).toBe('LS_CONSTRAINT_VIOLATED')
  })

  test('keeps its SQLSTATE and itself for the log', () => {
    const cause = Object.assign(new Error('duplicate key'), { code: '23505' })
    expect(toLockstepError(cause)).toMatchObject({ details: { sqlState: '23505' }, cause })
  })

  test('of a COMMIT says that nothing was saved only while the server lives on', () => {
    const withState = (code: string): boolean => isErrorResponse(Object.assign(new Error('x'), { code }))
    expect(['23505', '40001', 'LS002'].map(withState)).toEqual([true, true, true])
    // FATAL answers can follow a COMMIT that took effect.
    expect(['57P01', '57P02', '08006', 'ECONNRESET'].map(withState)).toEqual([false, false, false, false])
  })
})

describe('the limits of the wire', () => {
  test('fit into each other', () => {
    expect(limits.maxConnectBytes).toBeLessThan(limits.maxMessageBytes)
    expect('user:'.length + limits.maxUserIdBytes).toBeLessThanOrEqual(limits.maxChannelBytes)
    // A question for outcomes travels in one message: 36 bytes an id, quotes and comma.
    expect(limits.maxOutcomeIds * 39 + 200).toBeLessThan(limits.maxMessageBytes)
    // RFC 6455, section 5.5: 125 bytes, of which the code takes two.
    expect(limits.maxCloseReasonBytes).toBe(125 - 2)
  })

  test('are whole numbers above zero', () => {
    for (const value of Object.values(limits)) expect(Number.isInteger(value) && value > 0).toBe(true)
  })
})

describe('a code that the catalogue does not have', () => {
  test.each([
    ['LS_FORBIDEN', 'got the text "LS_FORBIDEN". Did you mean "LS_FORBIDDEN"?'],
    ['constructor', 'got the text "constructor".'],
    ['__proto__', 'got the text "__proto__".'],
    [undefined, 'got undefined.'],
  ])('%s is refused with the nearest that it has', (code, words) => {
    const make = (): unknown => new LockstepError(code as ErrorCode)
    expect(make).toThrow(words)
    expect(make).toThrow(
      expect.objectContaining({
        name: 'LockstepError',
        code: 'LS_CONFIG_INVALID',
        retryable: false,
      }) as Error,
    )
  })
})

test.each([
  'SASL: SCRAM-SERVER-FIRST-MESSAGE: client password must be a string',
  'SASL: SCRAM-SERVER-FIRST-MESSAGE: client password must be a non-empty string',
])('%s says that no password was given', (text) => {
  expect(toLockstepError(new Error(text), 'LS_CONNECTION_LOST')).toMatchObject({
    code: 'LS_DATABASE_REFUSED',
    retryable: false,
    message: expect.stringMatching(/No password was given.*DATABASE_URL/) as string,
  })
})

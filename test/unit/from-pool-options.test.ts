import pg from 'pg'
import { expect, it } from 'vitest'
import { fromPool } from '../../src/index.ts'

it.each([
  ['statementTimeoutMs', 0],
  ['statementTimeoutMs', Number.POSITIVE_INFINITY],
  ['statementTimeoutMs', 2 ** 31],
  ['acquireTimeoutMs', Number.NaN],
  ['acquireTimeoutMs', -1],
  ['ownConnections', 0],
  ['ownConnections', 1.5],
])('refuses %s: %d, and says what is allowed', (name, value) => {
  const pool = new pg.Pool()
  expect(() => fromPool(pool, { [name]: value })).toThrow(
    expect.objectContaining({
      code: 'LS_CONFIG_INVALID',
      message: `${name} must be a whole number from 1 to 2147483647.`,
    }),
  )
})

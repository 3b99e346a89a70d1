import pg from 'pg'
import { expect, it } from 'vitest'
import { createLockstep, fromPool, silentLogger } from '../../../src/index.ts'

const refusal = (name: string, least: number, most: number) =>
  expect.objectContaining({
    code: 'LS_CONFIG_INVALID',
    message: `${name} must be a whole number from ${least} to ${most}.`,
  })

it.each([
  ['statementTimeoutMs', 0],
  ['statementTimeoutMs', Number.POSITIVE_INFINITY],
  ['statementTimeoutMs', 2 ** 31],
  ['acquireTimeoutMs', Number.NaN],
  ['acquireTimeoutMs', -1],
  ['ownConnections', 0],
  ['ownConnections', 1.5],
])('fromPool refuses %s: %d, and says what is allowed', (name, value) => {
  expect(() => fromPool(new pg.Pool(), { [name]: value })).toThrow(refusal(name, 1, 2_147_483_647))
})

it.each([
  ['leaseMs', 99, 100, 2_147_483_647],
  ['leaseMs', Number.NaN, 100, 2_147_483_647],
  ['headCheckMs', 0, 1, 2_147_483_647],
  // A negative retention would expire all events before they were written.
  ['eventRetentionMs', -1, 1, 3_153_600_000_000],
  ['operationRetentionMs', Number.POSITIVE_INFINITY, 1, 3_153_600_000_000],
])('createLockstep refuses %s: %d, and says what is allowed', (name, value, least, most) => {
  const options = { database: fromPool(new pg.Pool()), logger: silentLogger, [name]: value }
  expect(() => createLockstep(options)).toThrow(refusal(name, least, most))
})

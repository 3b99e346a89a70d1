import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  assertOperationId,
  assertUserId,
  isChannelName,
  isOperationId,
  isUserId,
  newOperationId,
  userChannel,
} from '../../src/core/index.ts'
import { newOperationId as newClientOperationId } from '../../src/client/operation-id.ts'
import { limits } from '../../src/protocol/index.ts'

describe('an operation id', () => {
  test.each([
    ['the server', newOperationId],
    ['the client', newClientOperationId],
  ])('made by %s is one, of version 7, never twice', (_name, make) => {
    const ids = Array.from({ length: 1_000 }, make)
    expect(new Set(ids).size).toBe(ids.length)
    for (const id of ids) {
      expect(isOperationId(id)).toBe(true)
      expect(id[14]).toBe('7')
    }
  })

  test('made by the client holds the time', () => {
    const before = Date.now()
    const time = Number.parseInt(newClientOperationId().replaceAll('-', '').slice(0, 12), 16)
    expect(time).toBeGreaterThanOrEqual(before)
    expect(time).toBeLessThanOrEqual(Date.now())
  })

  test('may be a UUID of any version, in lower case', () => {
    fc.assert(
      fc.property(fc.uuid({ version: [1, 2, 3, 4, 5, 6, 7, 8] }), (id) => {
        expect(isOperationId(id)).toBe(true)
        expect(isOperationId(` ${id}`)).toBe(false)
        expect(isOperationId(`${id}\n`)).toBe(false)
        expect(isOperationId(id.replaceAll('-', ''))).toBe(false)
        expect(isOperationId(`{${id}}`)).toBe(false)
        expect(isOperationId(id.toUpperCase())).toBe(id === id.toUpperCase())
      }),
    )
  })

  test.each(['', 'x', '0'.repeat(36), '00000000-0000-0000-0000-000000000000', null, 7, {}, ['x'], undefined])(
    'is not %j',
    (value) => {
      expect(isOperationId(value)).toBe(false)
      expect(() => assertOperationId(value)).toThrow(
        expect.objectContaining({ code: 'LS_OPERATION_ID_INVALID' }),
      )
    },
  )
})

describe('a user id', () => {
  test('always gives a channel name, and never that of another user', () => {
    const id = fc.string({
      unit: fc.constantFrom(...'AZaz09._~@|=+-'.split('')),
      minLength: 1,
      maxLength: 200,
    })
    fc.assert(
      fc.property(
        id.filter((text) => !text.includes('..')),
        (text) => {
          expect(isUserId(text)).toBe(true)
          expect(isChannelName(userChannel(text))).toBe(true)
        },
      ),
    )
  })

  test('that is not plain ASCII is none', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', minLength: 1 }), (text) => {
        expect(isUserId(text) && !/^[\x21-\x7e]+$/.test(text)).toBe(false)
      }),
    )
  })

  test.each([
    '',
    ' ada',
    'ada ',
    'a:b',
    'a/b',
    'a*',
    'a..b',
    'é',
    'ſam',
    'a\0',
    'a\n',
    '{}',
    null,
    7,
    {},
    undefined,
  ])('is not %j', (value) => {
    expect(isUserId(value)).toBe(false)
    expect(() => assertUserId(value)).toThrow(expect.objectContaining({ code: 'LS_USER_ID_INVALID' }))
  })

  test('has a longest length, which fits its channel', () => {
    expect(isUserId('a'.repeat(limits.maxUserIdBytes))).toBe(true)
    expect(isUserId('a'.repeat(limits.maxUserIdBytes + 1))).toBe(false)
    expect(isChannelName(userChannel('a'.repeat(limits.maxUserIdBytes)))).toBe(true)
  })
})

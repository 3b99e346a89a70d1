import fc from 'fast-check'
import { describe, expect, test, vi } from 'vitest'
import {
  assertOperationId,
  assertUserId,
  isChannelName,
  isOperationId,
  isUserId,
  newOperationId,
  userChannel,
} from '../../../src/core/index.ts'
import { newOperationId as newClientOperationId } from '../../../src/client/index.ts'
import { limits } from '../../../src/protocol/index.ts'

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

  test('made by the server rises, also within a millisecond and when the clock goes back', () => {
    const now = Date.now()
    const clock = vi.spyOn(Date, 'now').mockImplementation(() => times.shift() ?? now - 5_000)
    const times = [...Array<number>(2_000).fill(now), now + 1]
    const ids = Array.from({ length: 3_000 }, newOperationId)
    clock.mockRestore()
    expect(ids).toEqual(ids.toSorted())
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
      unit: fc.integer({ min: 0x20, max: 0x7e }).map((code) => String.fromCharCode(code)),
      minLength: 1,
      maxLength: 250,
    })
    fc.assert(
      fc.property(
        id.filter((text) => !text.includes('..') && text === text.trim()),
        id.filter((text) => !text.includes('..') && text === text.trim()),
        (one, other) => {
          expect([isUserId(one), isUserId(other)]).toEqual([true, true])
          expect(userChannel(one) === userChannel(other)).toBe(one === other)
        },
      ),
    )
  })

  test.each([
    ['a UUID', '6f1c0b8e-7a3e-4c07-9a53-6a1a3b1f6f55'],
    ['Auth0', 'auth0|5f7c8ec7c33c6c004bbafe82'],
    ['Auth0 with Google', 'google-oauth2|103547991597142817347'],
    ['Bluesky', 'did:plc:z72i7hdynmk6r22z27h6tvur'],
    ['a web DID', 'did:web:example.com%3A8080:users:ada'],
    ['an e-mail address', "ada.o'brien+work@example.com"],
    ['Entra ID', 'AAAAAAAAAAAAAAAAAAAAAIkzqFVrSaSaFHy782bbtaQ'],
    ['Keycloak with a user store', 'f:0d1d2b8e-0f0e-4a52:ada'],
    ['a SAML transient id', '_3f7b3dcf-1674-4ecd-92c8-1544f346baf8'],
    ['a SAML persistent id', 'Nf/3zY+Qe0m1w8k2Jg=='],
    ['SPIFFE', 'spiffe://example.org/ns/prod/sa/worker'],
    ['an account URL', 'https://social.example/@ada'],
    ['a distinguished name', 'CN=Ada Lovelace,OU=Engines,O="Babbage, Inc."'],
    ['Kubernetes', 'system:serviceaccount:prod:worker'],
    ['Cognito', 'us-east-1:12345678-1234-1234-1234-123456789012'],
  ])('as %s issues it is accepted', (_issuer, id) => {
    expect(isUserId(id)).toBe(true)
  })

  test('that is not plain ASCII is none', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', minLength: 1 }), (text) => {
        expect(isUserId(text) && !/^[\x20-\x7e]+$/.test(text)).toBe(false)
      }),
    )
  })

  test.each([
    '',
    ' ada',
    'ada ',
    ' ',
    'lockstep:server',
    'a\tb',
    'a..b',
    'é',
    'ſam',
    'a\0',
    'a\n',
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

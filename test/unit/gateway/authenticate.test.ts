import { generateKeyPairSync } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { exportJWK, SignJWT, UnsecuredJWT, type JWTPayload } from 'jose'
import { describe, expect, test } from 'vitest'
import { systemClock } from '../../../src/core/index.ts'
import {
  createTokenAuthenticator,
  signToken,
  type TokenAuthenticatorOptions,
} from '../../../src/auth/index.ts'

const secret = 'a secret for tests that is long enough'
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
const now = Math.floor(Date.now() / 1_000)

interface Signing {
  readonly alg?: string
  readonly key?: Parameters<SignJWT['sign']>[0]
  readonly kid?: string
}

function signed(
  claims: JWTPayload,
  { alg = 'HS256', key = bytes(secret), kid }: Signing = {},
): Promise<string> {
  const header = kid === undefined ? { alg } : { alg, kid }
  return new SignJWT(claims).setProtectedHeader(header).sign(key)
}

const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 })
const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const rsaPem = rsa.publicKey.export({ type: 'spki', format: 'pem' }).toString()
const refused = { code: 'LS_UNAUTHENTICATED', details: { expired: false } }

test('a short secret is refused, unless a trial asks for it', async () => {
  expect(() => createTokenAuthenticator({ secret: 'short' })).toThrow(
    expect.objectContaining({ code: 'LS_CONFIG_INVALID' }),
  )
  const authenticate = createTokenAuthenticator({ secret: 'short', allowShortSecret: true })
  expect(await authenticate(await signToken('short', 'ann', 60))).toMatchObject({ user: { id: 'ann' } })
  await expect(authenticate(await signToken('other', 'ann', 60))).rejects.toMatchObject({
    code: 'LS_UNAUTHENTICATED',
  })
})

test('signToken makes what the authenticator takes', async () => {
  const identity = await createTokenAuthenticator({ secret })(await signToken(secret, 'ann', 60))
  expect(identity.user).toEqual({ id: 'ann' })
  expect(Object.isFrozen(identity.user)).toBe(true)
  expect(identity.expiresAt).toBeGreaterThan(Date.now() + 50_000)
  expect(identity.expiresAt).toBeLessThan(Date.now() + 61_000)
})

describe('with a secret', () => {
  const strict = createTokenAuthenticator({ secret, issuer: 'me', audience: 'app' })
  const good = { sub: 'ann', iss: 'me', aud: 'app', exp: now + 60 }

  test('the good token, from which each row below differs in one thing', async () => {
    expect(await strict(await signed(good))).toEqual({ user: { id: 'ann' }, expiresAt: (now + 60) * 1_000 })
  })

  test.each<[string, () => Promise<string> | string, object]>([
    ['empty', () => '', { code: 'LS_UNAUTHENTICATED' }],
    ['no token', () => 'hello', refused],
    ['three dots', () => '...', refused],
    ['64 KiB', () => 'a'.repeat(65_536), { code: 'LS_UNAUTHENTICATED' }],
    ['valid but 64 KiB', () => signed({ ...good, pad: 'x'.repeat(65_536) }), { code: 'LS_UNAUTHENTICATED' }],
    ['alg none', () => new UnsecuredJWT(good).encode(), refused],
    ['alg none with a signature', async () => withHeader(await signed(good), { alg: 'none' }), refused],
    ['alg None', async () => withHeader(await signed(good), { alg: 'None' }), refused],
    [
      'HS512 with the same secret',
      () => signed(good, { alg: 'HS512', key: bytes(secret.repeat(2)) }),
      refused,
    ],
    ['RS256', () => signed(good, { alg: 'RS256', key: rsa.privateKey }), refused],
    [
      'another secret',
      () => signed(good, { key: bytes('another secret that is long enough, too') }),
      refused,
    ],
    ['a changed payload', async () => withPayload(await signed(good), { ...good, sub: 'bob' }), refused],
    ['a cut signature', async () => (await signed(good)).slice(0, -2), refused],
    [
      'expired',
      () => signed({ ...good, exp: now - 1 }),
      { code: 'LS_UNAUTHENTICATED', details: { expired: true } },
    ],
    [
      'expired and of another secret',
      () => signed({ ...good, exp: 1 }, { key: bytes('x'.repeat(32)) }),
      refused,
    ],
    [
      'a minute early',
      () => signed({ ...good, nbf: now + 60 }),
      { code: 'LS_TOKEN_NOT_YET_VALID', retryable: true },
    ],
    [
      'early, and of another secret',
      () => signed({ ...good, nbf: now + 60 }, { key: bytes('x'.repeat(32)) }),
      refused,
    ],
    ['nbf as text', () => signed({ ...good, nbf: 'soon' as never }), refused],
    ['another issuer', () => signed({ ...good, iss: 'you' }), refused],
    ['another audience', () => signed({ ...good, aud: 'other' }), refused],
    ['no issuer', () => signed({ sub: 'ann', aud: 'app' }), refused],
    ['no audience', () => signed({ sub: 'ann', iss: 'me' }), refused],
    ['exp as text', () => signed({ ...good, exp: 'never' as never }), refused],
    ['no subject', () => signed({ iss: 'me', aud: 'app' }), { code: 'LS_USER_ID_INVALID' }],
    ['an empty subject', () => signed({ ...good, sub: '' }), { code: 'LS_USER_ID_INVALID' }],
    [
      'a subject of 251 bytes',
      () => signed({ ...good, sub: 'x'.repeat(251) }),
      { code: 'LS_USER_ID_INVALID' },
    ],
    [
      'a subject of Lockstep itself',
      () => signed({ ...good, sub: 'lockstep:server' }),
      { code: 'LS_USER_ID_INVALID' },
    ],
    [
      'a tenant that no channel can name',
      () => signed({ ...good, tenant: 'a:b' }),
      { code: 'LS_UNAUTHENTICATED' },
    ],
    ['a subject beyond ASCII', () => signed({ ...good, sub: 'änn' }), { code: 'LS_USER_ID_INVALID' }],
    [
      'a number as subject',
      () => signed({ ...good, sub: 7 as never }),
      { code: expect.stringMatching(/^LS_U/) as string },
    ],
    ['a tenant that is an object', () => signed({ ...good, tenant: {} }), { code: 'LS_UNAUTHENTICATED' }],
    ['a tenant with a blank', () => signed({ ...good, tenant: 'a b' }), { code: 'LS_UNAUTHENTICATED' }],
  ])('refuses: %s', async (_name, make, error) => {
    await expect(strict(await make())).rejects.toMatchObject(error)
  })

  test('a token that begins within five seconds is good, one that ended a second ago is not', async () => {
    const clock = { ...systemClock, now: () => now * 1_000 }
    const authenticate = createTokenAuthenticator({ secret, clock })
    const ahead = await signed({ sub: 'ann', nbf: now + 4, iat: now + 4 })
    expect((await authenticate(ahead)).user.id).toBe('ann')
    const ended = await signed({ sub: 'ann', exp: now - 1 })
    await expect(authenticate(ended)).rejects.toMatchObject({ details: { expired: true } })
  })

  test('session and tenant come along; without exp it does not expire', async () => {
    const token = await signed({ sub: 'ann', sid: 's1', tenant: 'acme' })
    expect(await createTokenAuthenticator({ secret })(token)).toEqual({
      user: { id: 'ann', sessionId: 's1', tenant: 'acme' },
    })
  })
})

describe('with public keys', () => {
  test('a PEM key takes what its private half signed, and no secret made of its text', async () => {
    const authenticate = createTokenAuthenticator({ publicKey: rsaPem })
    const token = await signed({ sub: 'ann' }, { alg: 'RS256', key: rsa.privateKey })
    expect((await authenticate(token)).user.id).toBe('ann')
    const confused = await signed({ sub: 'ann' }, { key: bytes(rsaPem) })
    await expect(authenticate(confused)).rejects.toMatchObject(refused)
    const other = await signed({ sub: 'ann' }, { alg: 'ES256', key: ec.privateKey })
    await expect(authenticate(other)).rejects.toMatchObject(refused)
  })

  test('a key set takes its own keys and no others', async () => {
    const keys = [{ ...(await exportJWK(ec.publicKey)), kid: 'one', alg: 'ES256' }]
    const authenticate = createTokenAuthenticator({ jwks: { keys } })
    const token = (kid: string): Promise<string> =>
      signed({ sub: 'ann' }, { alg: 'ES256', key: ec.privateKey, kid })
    expect((await authenticate(await token('one'))).user.id).toBe('ann')
    await expect(authenticate(await token('two'))).rejects.toMatchObject(refused)
  })

  test('a key set at an address: its token, a foreign one, and no answer, which says nothing of the token', async () => {
    const keys = [{ ...(await exportJWK(ec.publicKey)), kid: 'one', alg: 'ES256' }]
    let answers = true
    const server = createServer((_request, response) => {
      response.statusCode = answers ? 200 : 503
      response.end(JSON.stringify({ keys }))
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const jwks = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`)
    const token = await signed({ sub: 'ann' }, { alg: 'ES256', key: ec.privateKey, kid: 'one' })
    const foreign = await signed({ sub: 'ann' }, { alg: 'RS256', key: rsa.privateKey, kid: 'two' })
    const authenticate = createTokenAuthenticator({ jwks })
    // The set is read for a foreign token first, and has no key for it.
    await expect(createTokenAuthenticator({ jwks })(foreign)).rejects.toMatchObject(refused)
    expect((await authenticate(token)).user.id).toBe('ann')
    // The key set was read a moment ago, and a key may be newer than that.
    await expect(authenticate(foreign)).rejects.toThrow(/key set could not be read/)
    answers = false
    await expect(createTokenAuthenticator({ jwks })(token)).rejects.toThrow(/key set could not be read/)
    server.close()
  })
})

test.each<[string, TokenAuthenticatorOptions]>([
  ['nothing', {}],
  ['two keys', { secret, publicKey: rsaPem }],
  ['a secret of 31 bytes', { secret: 'x'.repeat(31) }],
  ['no PEM', { publicKey: 'ssh-rsa AAAA' }],
  ['a secret for RS256', { secret, algorithms: ['RS256'] }],
  ['a public key for HS256', { publicKey: rsaPem, algorithms: ['RS256', 'HS256'] }],
  ['a secret for none', { secret, algorithms: ['none'] }],
  ['no algorithm', { secret, algorithms: [] }],
])('configuration refused: %s', (_name, options) => {
  expect(() => createTokenAuthenticator(options)).toThrow(
    expect.objectContaining({ code: 'LS_CONFIG_INVALID' }),
  )
})

const encoded = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')

function withHeader(token: string, header: object): string {
  return [encoded(header), ...token.split('.').slice(1)].join('.')
}

function withPayload(token: string, payload: object): string {
  const [header, , signature] = token.split('.')
  return [header, encoded(payload), signature].join('.')
}

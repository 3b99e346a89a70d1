import { createPublicKey, createSecretKey, type KeyObject } from 'node:crypto'
import { createLocalJWKSet, createRemoteJWKSet, errors, type JSONWebKeySet, type JWTVerifyGetKey } from 'jose'
import { LockstepError, messageOf } from '../core/index.ts'
import type { TokenAuthenticatorOptions } from './token-options.ts'

/** Least length of a shared secret for HS256, in bytes (RFC 7518, section 3.2). */
export const minSecretBytes = 32

/** The key set could not be read: nothing is known about the token, and the client should try again. */
export class KeySetUnavailable extends Error {
  readonly retryable = true

  constructor(cause: unknown) {
    super(`the key set could not be read: ${messageOf(cause)}`, { cause })
    this.name = 'KeySetUnavailable'
  }
}

export function keySource(options: TokenAuthenticatorOptions): KeyObject | JWTVerifyGetKey {
  const { secret, publicKey, jwks } = options
  const given = [secret, publicKey, jwks].filter((key) => key !== undefined)
  if (given.length !== 1) {
    const names = (['secret', 'publicKey', 'jwks'] as const).filter((name) => name in options)
    const named = names.length === 0 ? 'none of them' : names.join(' and ')
    throw misconfigured(
      `Give exactly one of secret, publicKey and jwks. Given: ${named}${namedUndefined(options, names)}.`,
    )
  }
  if (secret !== undefined) return secretKey(secret, options.allowShortSecret ?? false)
  if (publicKey !== undefined) return pemKey(publicKey)
  return jwks instanceof URL ? remoteKeys(jwks) : localKeys(jwks ?? { keys: [] })
}

function namedUndefined(
  options: TokenAuthenticatorOptions,
  names: readonly ('secret' | 'publicKey' | 'jwks')[],
): string {
  const empty = names.filter((name) => options[name] === undefined)
  if (empty.length === 0) return ''
  return `, where ${empty.join(' and ')} ${empty.length === 1 ? 'is' : 'are'} undefined: is a variable of the environment not set`
}

/** @throws LS_CONFIG_INVALID */
function secretKey(secret: string, allowShort: boolean): KeyObject {
  const bytes = Buffer.from(secret, 'utf8')
  if (bytes.length < (allowShort ? 1 : minSecretBytes)) {
    throw misconfigured(
      `The token secret must be at least ${minSecretBytes} bytes long, and has ${bytes.length}. Make one by: openssl rand -base64 32`,
    )
  }
  return createSecretKey(bytes)
}

function pemKey(pem: string): KeyObject {
  try {
    return createPublicKey(pem)
  } catch (error) {
    throw misconfigured('publicKey is not a public key in PEM form.', error)
  }
}

function localKeys(jwks: JSONWebKeySet): JWTVerifyGetKey {
  try {
    return createLocalJWKSet(jwks)
  } catch (error) {
    throw misconfigured('jwks is no key set: write { keys: [ … ] } with public keys in JWK form.', error)
  }
}

function remoteKeys(url: URL): JWTVerifyGetKey {
  const keys = createRemoteJWKSet(url)
  return async (header, token) => {
    const wasCoolingDown = keys.coolingDown
    try {
      return await keys(header, token)
    } catch (error) {
      // Read a moment ago, the set is not read again now: its owner may have changed the keys meanwhile.
      if (error instanceof errors.JWKSNoMatchingKey && wasCoolingDown) throw new KeySetUnavailable(error)
      // The set was read and holds no key for this token: that is the token's fault.
      if (error instanceof errors.JWKSNoMatchingKey || error instanceof errors.JWKSMultipleMatchingKeys)
        throw error
      if (error instanceof errors.JOSENotSupported) throw error
      throw new KeySetUnavailable(error)
    }
  }
}

export function misconfigured(message: string, cause?: unknown): LockstepError {
  return new LockstepError('LS_CONFIG_INVALID', { message, cause })
}

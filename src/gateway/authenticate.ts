import { createPublicKey, createSecretKey, type KeyObject } from 'node:crypto'
import {
  createLocalJWKSet,
  createRemoteJWKSet,
  errors,
  jwtVerify,
  SignJWT,
  type JSONWebKeySet,
  type JWTPayload,
  type JWTVerifyGetKey,
  type JWTVerifyOptions,
} from 'jose'
import {
  isLockstepError,
  isTenant,
  isUserId,
  LockstepError,
  messageOf,
  silentLogger,
  systemClock,
  type Clock,
  type Logger,
  type UserContext,
} from '../core/index.ts'
import type { Identity } from './ports.ts'

/** Exactly one of `secret`, `publicKey` and `jwks` says which key tokens are signed with. */
export interface TokenAuthenticatorOptions {
  /** Shared secret for HS256, at least 32 bytes (RFC 7518, section 3.2). */
  readonly secret?: string
  /** Takes a shorter secret too. For trials on one's own machine: it can be guessed. Default `false`. */
  readonly allowShortSecret?: boolean
  /** Public key in PEM form (SPKI). */
  readonly publicKey?: string
  /** A key set, or the address of one; the latter is fetched when needed and kept for a while. */
  readonly jwks?: JSONWebKeySet | URL
  readonly issuer?: string
  readonly audience?: string
  /**
   * A `sub` is unique only within its tenant. The claim `tenant` is then required and the user's id becomes
   * `<tenant>|<sub>`, so that no channel, notice or outcome of one tenant's user is another's. Default `false`:
   * a `sub` is one user, whatever the tenant.
   */
  readonly idsPerTenant?: boolean
  /**
   * Refuses tokens without `exp`. By default they are accepted, and the log says so once: nothing but `revoke` ends a
   * connection that such a token has opened.
   */
  readonly requireExpiry?: boolean
  /** Algorithms to accept. By default HS256 with a secret, and RS256, PS256, ES256 and EdDSA with other keys. */
  readonly algorithms?: readonly string[]
  readonly clock?: Clock
  readonly logger?: Logger
}

const minSecretBytes = 32
/** How far a server that signs tokens may be ahead of this one. */
const clockToleranceSeconds = 5
/** Longer tokens are not even decoded. */
const maxTokenLength = 4_096
const asymmetric = ['RS256', 'PS256', 'ES256', 'EdDSA', 'Ed25519'] as const

/** The key set could not be read: nothing is known about the token, and the client should try again. */
class KeySetUnavailable extends Error {
  readonly retryable = true

  constructor(cause: unknown) {
    super(`the key set could not be read: ${messageOf(cause)}`, { cause })
    this.name = 'KeySetUnavailable'
  }
}

/**
 * Verifies JWTs: `sub` is the user's id, `exp` ends the connection, and the optional `sid` and `tenant` become
 * `sessionId` and `tenant`. The function it returns throws LS_UNAUTHENTICATED, with `details.expired` for a token
 * that was good once, LS_TOKEN_NOT_YET_VALID for one whose `nbf` is more than 5 s ahead, and LS_USER_ID_INVALID.
 * @throws LS_CONFIG_INVALID when there is not exactly one key, or it is too weak or of the wrong kind
 */
export function createTokenAuthenticator(
  options: TokenAuthenticatorOptions,
): (token: string) => Promise<Identity> {
  const key = keySource(options)
  const { clock = systemClock, requireExpiry = false, idsPerTenant = false } = options
  const noteEndless = onceNoted(options.logger)
  const fixed: JWTVerifyOptions = {
    algorithms: algorithmsOf(options),
    clockTolerance: clockToleranceSeconds,
    ...(options.issuer === undefined ? {} : { issuer: options.issuer }),
    ...(options.audience === undefined ? {} : { audience: options.audience }),
    ...(requireExpiry ? { requiredClaims: ['exp'] } : {}),
  }
  return async (token) => {
    if (token.length === 0 || token.length > maxTokenLength) throw new LockstepError('LS_UNAUTHENTICATED')
    try {
      const { payload } = await jwtVerify(token, key, { ...fixed, currentDate: new Date(clock.now()) })
      assertNotExpired(payload, clock)
      if (payload.exp === undefined) noteEndless()
      return identityOf(payload, idsPerTenant)
    } catch (error) {
      throw refusalOf(error)
    }
  }
}

function onceNoted(logger: Logger = silentLogger): () => void {
  let isNoted = false
  return () => {
    if (isNoted) return
    isNoted = true
    logger.warn(
      { claim: 'exp' },
      'a token without exp was accepted: its connection has no end but revoke; auth.requireExpiry refuses such tokens',
    )
  }
}

/** A token for demos and tests, whatever the length of the secret. Real ones come from whoever signs the user in. */
export async function signToken(
  secret: string,
  userId: string,
  ttlSeconds: number,
  claims: { readonly tenant?: string; readonly sid?: string } = {},
): Promise<string> {
  const now = Math.floor(Date.now() / 1_000)
  return new SignJWT({ ...claims })
    .setProtectedHeader({ alg: 'HS256', typ: 'JWT' })
    .setSubject(userId)
    .setIssuedAt(now)
    .setExpirationTime(now + ttlSeconds)
    .sign(createSecretKey(Buffer.from(secret, 'utf8')))
}

function keySource(options: TokenAuthenticatorOptions): KeyObject | JWTVerifyGetKey {
  const { secret, publicKey, jwks } = options
  const given = [secret, publicKey, jwks].filter((key) => key !== undefined)
  if (given.length !== 1) throw misconfigured('Give exactly one of secret, publicKey and jwks.')
  if (secret !== undefined) return secretKey(secret, options.allowShortSecret ?? false)
  if (publicKey !== undefined) return pemKey(publicKey)
  return jwks instanceof URL ? remoteKeys(jwks) : createLocalJWKSet(jwks ?? { keys: [] })
}

/** @throws LS_CONFIG_INVALID */
function secretKey(secret: string, allowShort: boolean): KeyObject {
  const bytes = Buffer.from(secret, 'utf8')
  if (bytes.length < (allowShort ? 1 : minSecretBytes)) {
    throw misconfigured(`The token secret must be at least ${minSecretBytes} bytes long.`)
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

/** Never both kinds: a public key taken for a shared secret would let anyone sign. */
function algorithmsOf(options: TokenAuthenticatorOptions): string[] {
  const symmetric = options.secret !== undefined
  const algorithms = options.algorithms ?? (symmetric ? ['HS256'] : asymmetric)
  if (algorithms.length === 0 || algorithms.some((algorithm) => algorithm.startsWith('HS') !== symmetric)) {
    throw misconfigured(`The algorithms ${algorithms.join(', ')} do not fit the kind of key.`)
  }
  return [...algorithms]
}

/** The tolerance is for tokens that begin: an expired one can be replaced, and is said to be expired to the second. */
function assertNotExpired({ exp }: JWTPayload, clock: Clock): void {
  if (exp === undefined || exp * 1_000 > clock.now()) return
  throw new LockstepError('LS_UNAUTHENTICATED', {
    message: 'The token was refused: it has expired',
    details: { expired: true },
  })
}

function identityOf(payload: JWTPayload, idsPerTenant: boolean): Identity {
  const id = idsPerTenant ? idInTenant(payload.sub, payload['tenant']) : payload.sub
  if (!isUserId(id)) throw new LockstepError('LS_USER_ID_INVALID')
  const user: UserContext = Object.freeze({
    id,
    ...optionalClaim('sessionId', payload['sid']),
    ...optionalClaim('tenant', payload['tenant']),
  })
  if (payload.exp === undefined) return { user }
  return { user, expiresAt: payload.exp * 1_000 }
}

/** A tenant's name holds no separator, so that no two pairs make one id. */
function idInTenant(sub: string | undefined, tenant: unknown): string | undefined {
  if (!isTenant(tenant) || tenant.includes('|')) {
    throw new LockstepError('LS_UNAUTHENTICATED', { details: { claim: 'tenant' } })
  }
  return sub === undefined ? undefined : `${tenant}|${sub}`
}

/** A claim that is there but unusable refuses the token: left out, it would widen what the user may do. */
function optionalClaim(name: 'sessionId' | 'tenant', value: unknown): Readonly<Record<string, unknown>> {
  if (value === undefined) return {}
  const isUsable = name === 'tenant' ? isTenant(value) : isUserId(value)
  if (!isUsable) throw new LockstepError('LS_UNAUTHENTICATED', { details: { claim: name } })
  return { [name]: value }
}

function refusalOf(error: unknown): unknown {
  if (isLockstepError(error) || error instanceof KeySetUnavailable) return error
  if (isNotYetValid(error)) {
    return new LockstepError('LS_TOKEN_NOT_YET_VALID', { message: messageOf(error), cause: error })
  }
  const expired = error instanceof errors.JWTExpired
  // All else is the token's doing, a TypeError too: that is how jose refuses an algorithm the key is not made for.
  return new LockstepError('LS_UNAUTHENTICATED', {
    message: `The token was refused: ${messageOf(error)}`,
    details: { expired },
    cause: error,
  })
}

/** Signed well, and good in a while: a client that comes again with it gets in. */
function isNotYetValid(error: unknown): boolean {
  return (
    error instanceof errors.JWTClaimValidationFailed &&
    error.claim === 'nbf' &&
    error.reason === 'check_failed'
  )
}

function misconfigured(message: string, cause?: unknown): LockstepError {
  return new LockstepError('LS_CONFIG_INVALID', { message, cause })
}

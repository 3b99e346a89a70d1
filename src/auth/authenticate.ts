import { errors, jwtVerify, type JWTPayload, type JWTVerifyOptions } from 'jose'
import {
  describeGiven,
  isLockstepError,
  isTenant,
  isUserId,
  LockstepError,
  messageOf,
  silentLogger,
  suggestion,
  systemClock,
  type Clock,
  type Logger,
  type UserContext,
} from '../core/index.ts'
import type { Identity } from './identity.ts'
import { KeySetUnavailable, keySource, misconfigured } from './keys.ts'
import type { TokenAuthenticatorOptions } from './token-options.ts'

/** How far a server that signs tokens may be ahead of this one. */
const clockToleranceSeconds = 5
/** Longest token that is decoded at all. */
const maxTokenLength = 4_096
const asymmetric = ['RS256', 'PS256', 'ES256', 'EdDSA', 'Ed25519'] as const
/** Algorithms that exist: RFC 7518, section 3.1, and RFC 8037. */
const symmetricKnown = ['HS256', 'HS384', 'HS512']
const asymmetricKnown =
  'RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 ES512 EdDSA Ed25519 ML-DSA-44 ML-DSA-65 ML-DSA-87'.split(
    ' ',
  )

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

/** Lists the algorithms, all of one kind: a public key taken for a shared secret would let anyone sign. */
function algorithmsOf(options: TokenAuthenticatorOptions): string[] {
  const symmetric = options.secret !== undefined
  const algorithms = options.algorithms ?? (symmetric ? ['HS256'] : asymmetric)
  if (algorithms.length === 0 || algorithms.some((algorithm) => algorithm.startsWith('HS') !== symmetric)) {
    throw misconfigured(`The algorithms ${algorithms.join(', ')} do not fit the kind of key.`)
  }
  const known = symmetric ? symmetricKnown : asymmetricKnown
  for (const algorithm of algorithms) {
    if (known.includes(algorithm)) continue
    throw misconfigured(
      `There is no algorithm ${describeGiven(algorithm)}.${suggestion(algorithm, known)} Known for this kind of key: ${known.join(', ')}.`,
    )
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
  // Any other error is a fault of the token, a TypeError too: jose throws one for an algorithm unfit for the key.
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

import { createSecretKey } from 'node:crypto'
import { SignJWT } from 'jose'
import { describeGiven, describeKind, isUserId, LockstepError } from '../core/index.ts'
import { minSecretBytes, misconfigured } from './keys.ts'

/**
 * A token for demos and tests, also with a short secret. Real ones come from whoever signs the user in.
 * @throws LS_CONFIG_INVALID, LS_USER_ID_INVALID
 */
export async function signToken(
  secret: string,
  userId: string,
  ttlSeconds: number,
  claims: { readonly tenant?: string; readonly sid?: string } = {},
): Promise<string> {
  assertTokenParts(secret, userId, ttlSeconds)
  const now = Math.floor(Date.now() / 1_000)
  return new SignJWT({ ...claims })
    .setProtectedHeader({ alg: 'HS256', typ: 'JWT' })
    .setSubject(userId)
    .setIssuedAt(now)
    .setExpirationTime(now + ttlSeconds)
    .sign(createSecretKey(Buffer.from(secret, 'utf8')))
}

/** Refuses arguments that cannot be, and repeats the text of none: in a wrong place it may be the secret. */
function assertTokenParts(secret: unknown, userId: unknown, ttlSeconds: unknown): void {
  const usage = 'Write await signToken(secret, userId, ttlSeconds).'
  if (typeof secret !== 'string' || secret === '') {
    throw misconfigured(`The secret of signToken is a text, and is ${describeKind(secret)}. ${usage}`)
  }
  if (typeof userId !== 'string') {
    throw misconfigured(`The userId of signToken is a text, and is ${describeKind(userId)}. ${usage}`)
  }
  if (!isUserId(userId)) {
    throw new LockstepError('LS_USER_ID_INVALID', {
      message: `The userId of signToken is ${describeKind(userId)} that is no user id. ${usage}`,
    })
  }
  if (Buffer.byteLength(secret) < minSecretBytes && userId.length >= minSecretBytes) {
    throw misconfigured(
      `The secret of signToken has ${Buffer.byteLength(secret)} bytes and the userId ${userId.length}, as if they were ` +
        `swapped: everybody who has the token could read the secret. ${usage} ` +
        `A user id of ${minSecretBytes} characters or more needs a secret of at least ${minSecretBytes} bytes.`,
    )
  }
  if (!Number.isFinite(ttlSeconds)) {
    const given = isDuration(ttlSeconds) ? describeGiven(ttlSeconds) : describeKind(ttlSeconds)
    throw misconfigured(`The ttlSeconds of signToken are a number, and are ${given}. ${usage}`)
  }
}

/** A text such as `1h`, which is no secret. */
function isDuration(value: unknown): boolean {
  return typeof value === 'string' && /^\d{1,6} ?[a-z]?$/i.test(value)
}

import type { JSONWebKeySet } from 'jose'
import {
  aFlag,
  anything,
  aText,
  texts,
  peek,
  withMethods,
  type Clock,
  type Logger,
  type Shape,
} from '../core/index.ts'

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

/** Errors of their own say which keys are missing, and which cannot be used. */
export const authShape: Shape<TokenAuthenticatorOptions> = {
  secret: { ...aText, isSecret: true },
  allowShortSecret: aFlag,
  publicKey: { ...aText, isSecret: true },
  jwks: {
    expected: 'a key set { keys: [ … ] }, or the URL of one',
    isSecret: true,
    fits: (value) => value instanceof URL || isKeySet(value),
    advice: (value) => {
      if (Array.isArray(value)) return 'Write { keys: [ … ] }.'
      return typeof value === 'string' ? 'Write new URL("https://…") for an address.' : undefined
    },
  },
  issuer: aText,
  audience: aText,
  idsPerTenant: aFlag,
  requireExpiry: aFlag,
  algorithms: texts,
  clock: withMethods('now', 'monotonic', 'after'),
  logger: anything,
}

function isKeySet(value: unknown): boolean {
  const keys = peek(value, 'keys')
  return Array.isArray(keys) && keys.every((key) => typeof peek(key, 'kty') === 'string')
}

import { createHash } from 'node:crypto'
import type { Clock } from '../core/index.ts'

/** The application's `auth` threw something that does not say whether the token is good. */
export class FailedCheck extends Error {
  constructor(cause: unknown) {
    super('auth failed', { cause })
    this.name = 'FailedCheck'
  }
}

const enoughFailures = 5
const enoughMs = 30_000
const remembered = 1_000

/**
 * Tokens that `auth` keeps failing on by plain errors. Each attempt is another connection, so they are remembered here.
 * A fault of the moment deserves another try; an `auth` that throws on a bad token would be asked about it for ever.
 */
export class FailedChecks {
  readonly #clock: Clock
  /** By digest of the token, the oldest first. */
  readonly #tokens = new Map<string, { readonly since: number; readonly count: number }>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** True once the token has failed five times, over 30 s at least: it is refused from then on. */
  isHopeless(token: string): boolean {
    const digest = createHash('sha256').update(token).digest('base64url')
    const now = this.#clock.monotonic()
    const before = this.#tokens.get(digest)
    const failed = { since: before?.since ?? now, count: (before?.count ?? 0) + 1 }
    this.#tokens.set(digest, failed)
    const [oldest] = this.#tokens.keys()
    if (this.#tokens.size > remembered && oldest !== undefined) this.#tokens.delete(oldest)
    return failed.count >= enoughFailures && now - failed.since >= enoughMs
  }
}

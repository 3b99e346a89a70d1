import { createHash } from 'node:crypto'
import type { Clock } from '../core/index.ts'
import type { Credentials } from './credentials.ts'

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

interface Failures {
  readonly since: number
  readonly count: number
  /** How many checks had succeeded when the last failure was counted. */
  readonly passes: number
}

/**
 * Credentials that `auth` keeps failing on by plain errors. Each attempt is another connection, so they are remembered here.
 * An `auth` that throws on a bad token would be asked about it for ever; an `auth` that is down fails on every token. A
 * failure counts against a token only if `auth` has accepted another one since the failure before it.
 */
export class FailedChecks {
  readonly #clock: Clock
  /** Failures by digest of the credentials, the oldest first. */
  readonly #failures = new Map<string, Failures>()
  #passes = 0

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** `auth` accepted them: it works, and whatever it threw on them before was no judgement. */
  passed(credentials: Credentials): void {
    this.#passes += 1
    if (this.#failures.size > 0) this.#failures.delete(digestOf(credentials))
  }

  /** Notes a failure. True once five have counted against them, over 30 s at least: they are refused from then on. */
  isHopeless(credentials: Credentials): boolean {
    const digest = digestOf(credentials)
    const failures = this.#add(this.#failures.get(digest))
    this.#failures.set(digest, failures)
    const [oldest] = this.#failures.keys()
    if (this.#failures.size > remembered && oldest !== undefined) this.#failures.delete(oldest)
    return failures.count >= enoughFailures && this.#clock.monotonic() - failures.since >= enoughMs
  }

  #add(before: Failures | undefined): Failures {
    const passes = this.#passes
    if (before === undefined) return { since: this.#clock.monotonic(), count: 1, passes }
    return passes === before.passes ? before : { since: before.since, count: before.count + 1, passes }
  }
}

/** Digest of the token, or of the headers that say who asks where there is none. */
function digestOf({ token, request }: Credentials): string {
  const { cookie, authorization } = request?.headers ?? {}
  const shown = token === '' ? JSON.stringify([request?.url, cookie, authorization]) : token
  return createHash('sha256').update(shown).digest('base64url')
}

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

interface Failures {
  readonly since: number
  readonly count: number
  /** How many checks had succeeded when the last failure was counted. */
  readonly passes: number
}

/**
 * Tokens that `auth` keeps failing on by plain errors. Each attempt is another connection, so they are remembered here.
 * An `auth` that throws on a bad token would be asked about it for ever; an `auth` that is down fails on every token. A
 * failure counts against a token only if `auth` has accepted another one since the failure before it.
 */
export class FailedChecks {
  readonly #clock: Clock
  /** Failures by digest of the token, the oldest first. */
  readonly #tokens = new Map<string, Failures>()
  #passes = 0

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** `auth` accepted the token: it works, and whatever it threw on this token before was no judgement. */
  passed(token: string): void {
    this.#passes += 1
    if (this.#tokens.size > 0) this.#tokens.delete(digestOf(token))
  }

  /** Notes a failure. True once five have counted against the token, over 30 s at least: it is refused from then on. */
  isHopeless(token: string): boolean {
    const digest = digestOf(token)
    const failures = this.#add(this.#tokens.get(digest))
    this.#tokens.set(digest, failures)
    const [oldest] = this.#tokens.keys()
    if (this.#tokens.size > remembered && oldest !== undefined) this.#tokens.delete(oldest)
    return failures.count >= enoughFailures && this.#clock.monotonic() - failures.since >= enoughMs
  }

  #add(before: Failures | undefined): Failures {
    const passes = this.#passes
    if (before === undefined) return { since: this.#clock.monotonic(), count: 1, passes }
    return passes === before.passes ? before : { since: before.since, count: before.count + 1, passes }
  }
}

function digestOf(token: string): string {
  return createHash('sha256').update(token).digest('base64url')
}

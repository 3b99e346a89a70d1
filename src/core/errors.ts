import { errorCatalogue, type ErrorCode } from './error-catalogue.ts'
import { peek } from './thrown.ts'

export interface LockstepErrorOptions {
  /** What happened here, for the log; may name tables and values. Defaults to the catalogue's public text. */
  readonly message?: string
  /** Facts for the log, as plain values. */
  readonly details?: Readonly<Record<string, unknown>>
  readonly cause?: unknown
}

/** In the registry of all realms: a bundle, or a second copy of the package, has a class of its own. */
const brand = Symbol.for('lockstep.error')

/** The one error class. Match on `code`; the text of `message` is for people and may change. */
export class LockstepError extends Error {
  readonly code: ErrorCode
  readonly retryable: boolean
  readonly details: Readonly<Record<string, unknown>>

  constructor(code: ErrorCode, options: LockstepErrorOptions = {}) {
    super(
      options.message ?? errorCatalogue[code].publicMessage,
      options.cause === undefined ? undefined : { cause: options.cause },
    )
    this.name = 'LockstepError'
    this.code = code
    this.retryable = errorCatalogue[code].retryable
    this.details = options.details ?? {}
  }

  /** The catalogue's text, safe to show to anyone. */
  get publicMessage(): string {
    return errorCatalogue[this.code].publicMessage
  }

  get [brand](): true {
    return true
  }
}

/** Whether a value is an error of the catalogue, raised by this copy of Lockstep or by another one. Never throws. */
export function isLockstepError(error: unknown, code?: ErrorCode): error is LockstepError {
  if (peek(error, brand) !== true || Object(peek(error, 'details')) !== peek(error, 'details')) return false
  const own = peek(error, 'code')
  // Another version may know codes that this one has no text and no reply for.
  if (typeof own !== 'string' || !Object.hasOwn(errorCatalogue, own)) return false
  return code === undefined || own === code
}

/** What was thrown, and what it wraps, from the outside in: ORMs wrap what they get. Never throws. */
export function* causesOf(thrown: unknown): Generator<object> {
  let error = thrown
  for (let depth = 0; depth < deepestCause && typeof error === 'object' && error !== null; depth++) {
    yield error
    error = peek(error, 'cause')
  }
}

/** Chains of causes may be circles. */
const deepestCause = 16

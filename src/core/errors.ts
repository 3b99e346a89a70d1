import { errorCatalogue, type ErrorCode } from './error-catalogue.ts'
import { describeGiven } from './given.ts'
import { suggestion } from './nearest.ts'
import { peek } from './thrown.ts'

export interface LockstepErrorOptions {
  /** Text for the log about this case; may name tables and values. Defaults to the catalogue's public text. */
  readonly message?: string
  /** Facts for the log, as plain values. */
  readonly details?: Readonly<Record<string, unknown>>
  readonly cause?: unknown
}

/** Brand in the registry of all realms: a bundle, or a second copy of the package, has a class of its own. */
const brand = Symbol.for('lockstep.error')

/** The one error class. Match on `code`; the text of `message` is for people and may change. */
export class LockstepError extends Error {
  readonly code: ErrorCode
  readonly retryable: boolean
  readonly details: Readonly<Record<string, unknown>>

  /** @throws LS_CONFIG_INVALID for a code that the catalogue does not have, with `details.unknownCode` */
  constructor(code: ErrorCode, options: LockstepErrorOptions = {}) {
    assertKnown(code)
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

/** A code without a row has no public text, and nobody could say whether it is worth repeating. */
function assertKnown(code: unknown): void {
  if (typeof code === 'string' && Object.hasOwn(errorCatalogue, code)) return
  const given = describeGiven(code)
  const meant = typeof code === 'string' ? suggestion(code, Object.keys(errorCatalogue)) : ''
  throw new LockstepError('LS_CONFIG_INVALID', {
    message:
      `new LockstepError takes a code of the catalogue, such as "LS_FORBIDDEN", and got ${given}.${meant} ` +
      'Throw an error of your own class for what the catalogue does not have.',
    details: { unknownCode: given },
  })
}

/** Whether an error says that somebody's code has made one with a code that the catalogue does not have. Never throws. */
export function isOfUnknownCode(error: unknown): boolean {
  return isLockstepError(error, 'LS_CONFIG_INVALID') && error.details['unknownCode'] !== undefined
}

/** Whether a value is an error of the catalogue, raised by this copy of Lockstep or by another one. Never throws. */
export function isLockstepError(error: unknown, code?: ErrorCode): error is LockstepError {
  if (peek(error, brand) !== true || Object(peek(error, 'details')) !== peek(error, 'details')) return false
  const own = peek(error, 'code')
  // Reject unknown codes: another version may have codes for which this one has no text and no reply.
  if (typeof own !== 'string' || !Object.hasOwn(errorCatalogue, own)) return false
  return code === undefined || own === code
}

/**
 * Yields a thrown value and the errors it wraps, from the outside in, because ORMs wrap driver errors. Never throws.
 */
export function* causesOf(thrown: unknown): Generator<object> {
  let error = thrown
  for (let depth = 0; depth < deepestCause && typeof error === 'object' && error !== null; depth++) {
    yield error
    error = peek(error, 'cause')
  }
}

/** The outermost error of the catalogue among what was thrown and what it wraps, of these codes if any are given. */
export function lockstepErrorIn(thrown: unknown, codes?: ReadonlySet<ErrorCode>): LockstepError | undefined {
  for (const error of causesOf(thrown)) {
    if (isLockstepError(error) && (codes === undefined || codes.has(error.code))) return error
  }
  return undefined
}

/** Chains of causes may be circles. */
const deepestCause = 16

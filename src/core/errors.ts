import { errorCatalogue, type ErrorCode } from './error-catalogue.ts'

export interface LockstepErrorOptions {
  /** What happened here, for the log; may name tables and values. Defaults to the catalogue's public text. */
  readonly message?: string
  /** Facts for the log, as plain values. */
  readonly details?: Readonly<Record<string, unknown>>
  readonly cause?: unknown
}

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
}

export function isLockstepError(error: unknown, code?: ErrorCode): error is LockstepError {
  return error instanceof LockstepError && (code === undefined || error.code === code)
}

/** The text of anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

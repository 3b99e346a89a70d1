import { temporaryReplyCodes } from '../protocol/index.ts'

interface Entry {
  readonly code: number
  readonly retryable: boolean
  readonly message: string
}

const ownError = (code: number, retryable: boolean, message: string): Entry => ({ code, retryable, message })

/**
 * Errors that the client raises by itself, by reason. The codes are below 100, where the `centrifuge` package
 * keeps its own (`build/codes.d.ts`); 1 to 14 mean what they mean there.
 */
export const clientErrors = {
  LS_CLIENT_TIMEOUT: ownError(1, true, 'The server did not answer in time.'),
  LS_CLIENT_DISCONNECTED: ownError(3, true, 'There is no connection to the server.'),
  LS_CLIENT_CLOSED: ownError(4, false, 'The client was closed.'),
  LS_CLIENT_CONNECTION_LOST: ownError(11, true, 'The connection to the server was lost.'),
  LS_CLIENT_CONFIG_INVALID: ownError(12, false, 'The client is misconfigured.'),
  LS_CLIENT_CANCELLED: ownError(20, false, 'The call was cancelled before it was sent.'),
  LS_CLIENT_USER_CHANGED: ownError(21, false, 'The token belongs to another user. Make a new client.'),
  LS_CLIENT_EVENTS_MISSED: ownError(
    22,
    false,
    'Events were missed for good, and nothing listens with onReset. Reload.',
  ),
  LS_CLIENT_UNREACHABLE: ownError(24, true, 'There is no connection to the server.'),
  LS_CLIENT_REFUSED: ownError(25, false, 'The server refused the connection.'),
  LS_CLIENT_OUTCOME_UNKNOWN: ownError(
    26,
    false,
    'The operation may have reached the server. operations.on("settled") tells its outcome.',
  ),
  LS_CLIENT_QUEUE_FULL: ownError(
    27,
    true,
    'Too many calls, or too large ones, wait for their outcome. Call again later.',
  ),
  LS_CLIENT_NEVER_RECEIVED: ownError(28, true, 'The operation never reached the server. Call it again.'),
  LS_CLIENT_RUN_STOPPED: ownError(29, false, 'The run was stopped, so it has no result.'),
  LS_CLIENT_EVENT_MALFORMED: ownError(23, false, 'An event without a type was ignored.'),
} as const

/** Reason of an error that the client raised without the server's word. */
export type ClientErrorReason = keyof typeof clientErrors

/** The one error class of the client. Match on `code` or `reason`; the text of `message` may change. */
export class LockstepClientError extends Error {
  /** Number of the server's error reply (100 and above, see `replyCodes`), or of an error of the client itself. */
  readonly code: number
  /** Code of the error catalogue (`LS_…`), where the server named one, or a `ClientErrorReason`. */
  readonly reason: string | undefined
  /** True when the same call may succeed when it is made again, unchanged. */
  readonly retryable: boolean

  constructor(options: {
    readonly code: number
    readonly reason?: string | undefined
    readonly retryable: boolean
    readonly message: string
    readonly cause?: unknown
  }) {
    super(options.message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'LockstepClientError'
    this.code = options.code
    this.reason = options.reason
    this.retryable = options.retryable
  }
}

export function clientError(
  reason: ClientErrorReason,
  message?: string,
  cause?: unknown,
): LockstepClientError {
  const entry = clientErrors[reason]
  return new LockstepClientError({ ...entry, message: message ?? entry.message, reason, cause })
}

/** Tells whether the server has said no, and would again. */
export function isRefusal(error: unknown): error is LockstepClientError {
  return error instanceof LockstepClientError && error.code >= 100 && !error.retryable
}

/** Makes an error that can be read of what the application threw: the package reads it, and so does the client. */
export function readable(thrown: unknown): Error {
  try {
    // The package makes a text of it, which reads its name, too.
    if (thrown instanceof Error && typeof thrown.message === 'string' && String(thrown) !== '') return thrown
  } catch {
    // A proxy, or a getter that throws.
  }
  return new Error('The application threw a value that is no error.', { cause: thrown })
}

/** Rejection of `centrifuge`: a plain object, from an error reply or made by itself. */
export interface WireError {
  readonly code: number
  readonly message: string
  readonly temporary: boolean
}

export function toWireError(thrown: unknown): WireError {
  try {
    const { code, message, temporary } = Object(thrown) as { [Key in keyof WireError]?: unknown }
    return {
      code: typeof code === 'number' ? code : clientErrors.LS_CLIENT_CONNECTION_LOST.code,
      message: typeof message === 'string' ? message : String(thrown),
      temporary: temporary === true,
    }
  } catch {
    // The application's own functions may throw anything: a proxy, or an object without a text.
    return toWireError(clientErrors.LS_CLIENT_CONNECTION_LOST)
  }
}

/** Converts what was thrown for a command, or the reason of a push, to an error of this class. */
export function fromWireError(thrown: unknown): LockstepClientError {
  const { code, message, temporary } = toWireError(thrown)
  if (code < 100) {
    const known = (Object.keys(clientErrors) as ClientErrorReason[]).find(
      (key) => clientErrors[key].code === code,
    )
    return clientError(known ?? 'LS_CLIENT_CONNECTION_LOST', known === undefined ? message : undefined)
  }
  const reason = /\bLS_[A-Z_]+/.exec(message)?.[0]
  return new LockstepClientError({
    code,
    // The code is in `reason`; the text is for people.
    message: message.replace(/^LS_[A-Z_]+: /, ''),
    reason,
    retryable: temporary || temporaryReplyCodes.has(code),
  })
}

import { temporaryReplyCodes } from '../protocol/index.ts'

/**
 * Errors that the client raises by itself, by reason. The codes are below 100, where the `centrifuge` package
 * keeps its own (`build/codes.d.ts`); 1 to 14 mean what they mean there.
 */
export const clientErrors = {
  LS_CLIENT_TIMEOUT: { code: 1, retryable: true, message: 'The server did not answer in time.' },
  LS_CLIENT_DISCONNECTED: { code: 3, retryable: true, message: 'There is no connection to the server.' },
  LS_CLIENT_CLOSED: { code: 4, retryable: false, message: 'The client was closed.' },
  LS_CLIENT_CONNECTION_LOST: { code: 11, retryable: true, message: 'The connection to the server was lost.' },
  LS_CLIENT_CONFIG_INVALID: {
    code: 12,
    retryable: false,
    message: 'The client is not configured correctly.',
  },
  LS_CLIENT_CANCELLED: { code: 20, retryable: false, message: 'The call was cancelled before it was sent.' },
  LS_CLIENT_USER_CHANGED: {
    code: 21,
    retryable: false,
    message: 'The token belongs to another user. Close this client and make a new one.',
  },
  LS_CLIENT_EVENTS_MISSED: {
    code: 22,
    retryable: false,
    message: 'Events were missed that are no longer kept, and nothing listens with onReset. Reload.',
  },
  LS_CLIENT_UNREACHABLE: { code: 24, retryable: true, message: 'There is no connection to the server yet.' },
  LS_CLIENT_REFUSED: { code: 25, retryable: false, message: 'The server refused the connection.' },
  LS_CLIENT_OUTCOME_UNKNOWN: {
    code: 26,
    retryable: false,
    message:
      'The operation may have reached the server. Its outcome is asked for as soon as there is a connection, and told by operations.on("settled").',
  },
  LS_CLIENT_EVENT_MALFORMED: { code: 23, retryable: false, message: 'An event without a type was ignored.' },
} as const

/** Why the client raised an error without the server's word. */
export type ClientErrorReason = keyof typeof clientErrors

/** The one error class of the client. Match on `code` or `reason`; the text of `message` may change. */
export class LockstepClientError extends Error {
  /** Number of the server's error reply (100 and above, see `replyCodes`), or of an error of the client itself. */
  readonly code: number
  /** Code of the error catalogue (`LS_…`), where the server named one, or a `ClientErrorReason`. */
  readonly reason: string | undefined
  /** Whether the same call may succeed when it is made again, unchanged. */
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

/** Whether the server has said no, and would again. */
export function isRefusal(error: unknown): error is LockstepClientError {
  return error instanceof LockstepClientError && error.code >= 100 && !error.retryable
}

/** For code that looks at what the application threw, and for the package, which does so too: an error that can be read. */
export function readable(thrown: unknown): Error {
  try {
    // The package makes a text of it, which reads its name, too.
    if (thrown instanceof Error && typeof thrown.message === 'string' && String(thrown) !== '') return thrown
  } catch {
    // A proxy, or a getter that throws.
  }
  return new Error('The application threw a value that is no error.', { cause: thrown })
}

/** What `centrifuge` rejects with: a plain object, from an error reply or made by itself. */
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
    const { code, message } = clientErrors.LS_CLIENT_CONNECTION_LOST
    return { code, message, temporary: false }
  }
}

/** What was thrown for a command, or the reason of a push, as an error of this class. */
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

import { replyCodes, type ReplyCode } from '../protocol/index.ts'

interface CatalogueEntry {
  /** Whether the same call may succeed when it is made again, unchanged. */
  readonly retryable: boolean
  /** Safe to show to anyone: names no table, no value, no host. */
  readonly publicMessage: string
  /** Number of the error reply when the gateway answers with it. */
  readonly reply: ReplyCode
}

/** Every error Lockstep raises on purpose. `docs/reference/errors.md` lists exactly these, by test. */
export const errorCatalogue = {
  LS_CONFIG_INVALID: entry(false, 'The server is not configured correctly.', replyCodes.internal),
  LS_DATABASE_UNREACHABLE: entry(true, 'The database cannot be reached right now.', replyCodes.internal),
  LS_DATABASE_RIGHTS: entry(false, 'The server may not use its database as it must.', replyCodes.internal),
  LS_DATABASE_READ_ONLY: entry(true, 'The database takes no changes right now.', replyCodes.internal),
  LS_DATABASE_RESOURCES: entry(
    true,
    'The database is short of disk space or another resource right now.',
    replyCodes.internal,
  ),
  LS_SCHEMA_NEWER: entry(false, 'The database was set up by a newer version.', replyCodes.internal),
  LS_DIRECTORY_LOCKED: entry(false, 'The data directory is in use by another process.', replyCodes.internal),
  LS_OPERATION_ID_INVALID: entry(
    false,
    'The operation id must be a UUID in lower case.',
    replyCodes.operationIdInvalid,
  ),
  LS_OPERATION_ID_REUSED: entry(
    false,
    'This operation id was used before, with other input. Use a new id.',
    replyCodes.operationIdReused,
  ),
  LS_OPERATION_EXPIRED: entry(
    false,
    'The operation is older than outcomes are kept. Use a new id.',
    replyCodes.operationExpired,
  ),
  LS_OPERATION_FENCED: entry(
    false,
    'The operation had already been settled, so this copy of it was not saved.',
    replyCodes.internal,
  ),
  LS_OPERATION_CANCELLED: entry(true, 'The operation was cancelled.', replyCodes.internal),
  LS_OPERATION_INTERRUPTED: entry(
    true,
    'The server stopped before the operation was finished.',
    replyCodes.internal,
  ),
  LS_OPERATION_TIMEOUT: entry(true, 'It took too long.', replyCodes.internal),
  LS_OPERATION_NESTED: entry(
    false,
    'An operation was called inside another one, and commits on its own.',
    replyCodes.internal,
  ),
  LS_OUTSIDE_TRANSACTION: entry(
    false,
    'A statement was sent outside of the transaction of its operation.',
    replyCodes.internal,
  ),
  LS_OPERATION_FAILED: entry(false, 'The operation failed.', replyCodes.internal),
  LS_OUTCOME_PENDING: entry(
    true,
    'The outcome is not known yet. Ask again in a moment.',
    replyCodes.outcomePending,
  ),
  LS_NODE_STOPPING: entry(
    true,
    'The server is stopping. Reconnect and send it again.',
    replyCodes.nodeStopping,
  ),
  LS_NODE_OVERLOADED: entry(
    true,
    'The server works on as much as it can hold, so this was not begun. Send it again later.',
    replyCodes.tooManyRequests,
  ),
  LS_NODE_FENCED: entry(
    true,
    'The server lost its lease and accepts no work. Reconnect and send it again.',
    replyCodes.nodeStopping,
  ),
  LS_INPUT_INVALID: entry(false, 'The input is not valid.', replyCodes.inputInvalid),
  LS_FORBIDDEN: entry(false, 'You may not do this.', replyCodes.forbidden),
  LS_UNAUTHENTICATED: entry(false, 'Sign in first.', replyCodes.unauthorized),
  LS_TOKEN_NOT_YET_VALID: entry(
    true,
    'The token is not valid yet. Check the clocks of the server that signs it and of this one.',
    replyCodes.tokenNotYetValid,
  ),
  LS_USER_ID_INVALID: entry(
    false,
    'A user id is visible ASCII with blanks only inside and no two dots in a row, at most 250 bytes.',
    replyCodes.unauthorized,
  ),
  LS_CHANNEL_NAME_INVALID: entry(false, 'That is not a channel name.', replyCodes.badRequest),
  LS_CHANNEL_UNKNOWN: entry(false, 'There is no such channel.', replyCodes.unknownChannel),
  LS_CHANNEL_CHECK_FAILED: entry(
    true,
    'The check of who may join this channel failed. Try again in a moment.',
    replyCodes.internal,
  ),
  LS_CHANNEL_FORBIDDEN: entry(false, 'You may not join this channel.', replyCodes.permissionDenied),
  LS_EVENT_UNKNOWN: entry(false, 'The channel does not carry events of that type.', replyCodes.internal),
  LS_EVENT_INVALID: entry(false, 'The event does not match its schema.', replyCodes.internal),
  LS_EVENT_TOO_LARGE: entry(false, 'The event is too large.', replyCodes.internal),
  LS_RESULT_TOO_LARGE: entry(false, 'The result is too large.', replyCodes.internal),
  LS_TRANSACTION_CLOSED: entry(false, 'The transaction had already ended.', replyCodes.internal),
  LS_TRANSACTION_CONTROL: entry(
    false,
    'The transaction was ended by a statement of its own.',
    replyCodes.internal,
  ),
  LS_STATEMENT_UNSUPPORTED: entry(
    false,
    'The server sent its database a statement in a form that an operation cannot have.',
    replyCodes.internal,
  ),
  LS_TRANSACTION_ABORTED: entry(
    false,
    'A statement of the transaction had failed, so nothing was saved.',
    replyCodes.internal,
  ),
  LS_SAVEPOINT_OPEN: entry(false, 'A nested transaction is still open.', replyCodes.internal),
  LS_SERIALIZATION_FAILURE: entry(
    true,
    'Someone else changed the same data at the same time.',
    replyCodes.internal,
  ),
  LS_CONSTRAINT_VIOLATED: entry(
    false,
    'The data conflicts with a rule of the database.',
    replyCodes.internal,
  ),
  LS_DATA_INVALID: entry(false, 'The database refused a value.', replyCodes.internal),
  LS_STATEMENT_TIMEOUT: entry(true, 'It took too long.', replyCodes.internal),
  LS_CONNECTION_LOST: entry(true, 'The connection to the database was lost.', replyCodes.internal),
  LS_POOL_EXHAUSTED: entry(true, 'The server is too busy right now.', replyCodes.internal),
  LS_REQUEST_INVALID: entry(false, 'The command does not follow the protocol.', replyCodes.badRequest),
  LS_MESSAGE_TOO_LARGE: entry(false, 'The message is too large.', replyCodes.limitExceeded),
} as const

export type ErrorCode = keyof typeof errorCatalogue

function entry(retryable: boolean, publicMessage: string, reply: ReplyCode): CatalogueEntry {
  return { retryable, publicMessage, reply }
}

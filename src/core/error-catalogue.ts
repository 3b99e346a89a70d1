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
  LS_DATABASE_UNREACHABLE: entry(
    true,
    'The database cannot be reached right now. Try again in a moment.',
    replyCodes.internal,
  ),
  LS_DATABASE_REFUSED: entry(false, "The database refuses the server's connection.", replyCodes.internal),
  LS_DATABASE_RIGHTS: entry(
    false,
    'The server lacks a right that it needs on its database.',
    replyCodes.internal,
  ),
  LS_DATABASE_READ_ONLY: entry(
    true,
    'The database accepts no changes right now. Try again in a moment.',
    replyCodes.internal,
  ),
  LS_DATABASE_RESOURCES: entry(
    true,
    'The database is short of disk space or another resource. Try again later.',
    replyCodes.internal,
  ),
  LS_DATABASE_CLOSED: entry(false, 'The server has closed its database.', replyCodes.internal),
  LS_SCHEMA_MISSING: entry(false, 'The database of the server is not set up.', replyCodes.internal),
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
    'The operation is too old: its outcome is no longer kept. Check whether it took effect before you use a new id.',
    replyCodes.operationExpired,
  ),
  LS_OPERATION_FENCED: entry(
    false,
    'The operation already has an outcome, so this copy of it was not saved.',
    replyCodes.internal,
  ),
  LS_OPERATION_CANCELLED: entry(true, 'The operation was cancelled.', replyCodes.internal),
  LS_OPERATION_INTERRUPTED: entry(
    true,
    'The server stopped before the operation had finished. Send it again.',
    replyCodes.internal,
  ),
  LS_OPERATION_TIMEOUT: entry(true, 'The operation took too long. Send it again.', replyCodes.internal),
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
  LS_OPERATION_REFUSED: entry(false, 'The application refused it.', replyCodes.internal),
  LS_REFUSAL_INVALID: entry(
    false,
    'The server refused it, in a way that it does not declare.',
    replyCodes.internal,
  ),
  LS_OUTCOME_PENDING: entry(
    true,
    'The outcome is not known yet. Ask again in a moment.',
    replyCodes.outcomePending,
  ),
  LS_NODE_STARTING: entry(
    true,
    'The server is still starting. Send it again in a moment.',
    replyCodes.nodeStopping,
  ),
  LS_NODE_STOPPING: entry(
    true,
    'The server is stopping. Reconnect and send it again.',
    replyCodes.nodeStopping,
  ),
  LS_NODE_OVERLOADED: entry(
    true,
    'The server is overloaded and did not begin this. Send it again later.',
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
    'A user id must be at most 250 bytes of visible ASCII, with blanks only inside and no two dots in a row.',
    replyCodes.unauthorized,
  ),
  LS_CHANNEL_NAME_INVALID: entry(false, 'The channel name is not valid.', replyCodes.badRequest),
  LS_CHANNEL_INVALID: entry(false, 'The server named no channel for an event.', replyCodes.internal),
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
  LS_DRAFT_UNKNOWN: entry(false, 'The channel has no draft of that name.', replyCodes.internal),
  LS_DRAFT_NOWHERE: entry(false, 'The work shows a draft, and names no channel for it.', replyCodes.internal),
  LS_DRAFT_INVALID: entry(false, 'A chunk does not match the schema of its draft.', replyCodes.internal),
  LS_DRAFT_TOO_LARGE: entry(false, 'The draft is too large.', replyCodes.internal),
  LS_DRAFTS_TOO_MANY: entry(
    true,
    'The channel shows too many drafts. Send it again later.',
    replyCodes.internal,
  ),
  LS_OPERATION_TOO_LARGE: entry(
    false,
    'The operation changes too much at once. Split it into smaller ones.',
    replyCodes.internal,
  ),
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
    'Someone else changed the same data at the same time. Send it again.',
    replyCodes.internal,
  ),
  LS_CONSTRAINT_VIOLATED: entry(
    false,
    'The data conflicts with a rule of the database.',
    replyCodes.internal,
  ),
  LS_DATA_INVALID: entry(false, 'The database refused a value.', replyCodes.internal),
  LS_TRANSACTION_IDLE: entry(
    true,
    'The transaction was idle for too long. Send it again.',
    replyCodes.internal,
  ),
  LS_TRANSACTION_TIMEOUT: entry(true, 'The transaction took too long. Send it again.', replyCodes.internal),
  LS_STATEMENT_TIMEOUT: entry(true, 'A statement took too long. Send it again.', replyCodes.internal),
  LS_CONNECTION_LOST: entry(
    true,
    'The connection to the database was lost. Send it again.',
    replyCodes.internal,
  ),
  LS_POOL_EXHAUSTED: entry(
    true,
    'The server is too busy right now. Send it again later.',
    replyCodes.internal,
  ),
  LS_INTERNAL: entry(true, 'The server failed unexpectedly. Send it again later.', replyCodes.internal),
  LS_METHOD_UNKNOWN: entry(false, 'There is no such method.', replyCodes.methodNotFound),
  LS_ALREADY_SUBSCRIBED: entry(
    false,
    'This connection has already joined the channel.',
    replyCodes.alreadySubscribed,
  ),
  LS_LIMIT_EXCEEDED: entry(
    false,
    'This connection has reached its limit of channels. Leave one before you join another.',
    replyCodes.limitExceeded,
  ),
  LS_ANSWER_TOO_LARGE: entry(
    false,
    'The answer is too large to send. Ask for less at once.',
    replyCodes.limitExceeded,
  ),
  LS_COMMAND_FORBIDDEN: entry(false, 'You may not do this.', replyCodes.permissionDenied),
  LS_COMMAND_UNAVAILABLE: entry(false, 'The server does not serve this command.', replyCodes.notAvailable),
  LS_TOKEN_EXPIRED: entry(false, 'The token has expired. Send a new one.', replyCodes.tokenExpired),
  LS_TOO_MANY_REQUESTS: entry(
    true,
    'Too many requests of this connection are unanswered. Send it again later.',
    replyCodes.tooManyRequests,
  ),
  LS_POSITION_UNRECOVERABLE: entry(
    false,
    'Events after this position are no longer kept. Reload, and go on from there.',
    replyCodes.unrecoverablePosition,
  ),
  LS_RUN_UNKNOWN: entry(false, 'There is no such run.', replyCodes.badRequest),
  LS_RUN_LOST: entry(true, 'Another attempt goes on with the run.', replyCodes.internal),
  LS_RUN_STOPPED: entry(false, 'The run was stopped.', replyCodes.internal),
  LS_RUN_FAILED: entry(false, 'The work failed.', replyCodes.internal),
  LS_RUN_TIMEOUT: entry(true, 'It took too long.', replyCodes.internal),
  LS_RUN_DEAD: entry(true, 'The server stopped before the work was finished.', replyCodes.internal),
  LS_RUN_CODE_CHANGED: entry(
    false,
    'The server was changed while the work went on, and could not go on with it.',
    replyCodes.internal,
  ),
  LS_STEP_REPEATED: entry(false, 'The work used the name of a step twice.', replyCodes.internal),
  LS_STEP_NESTED: entry(false, 'The work began a step inside another one.', replyCodes.internal),
  LS_STEP_OUTSIDE_RUN: entry(false, 'A step was begun outside of the work of a task.', replyCodes.internal),
  LS_STEP_RESULT_INVALID: entry(false, 'The work returned a value that cannot be kept.', replyCodes.internal),
  LS_STEP_TIMEOUT: entry(true, 'It took too long.', replyCodes.internal),
  LS_TASK_INTERNAL: entry(false, 'The server alone starts this.', replyCodes.forbidden),
  LS_TASK_UNKNOWN: entry(true, 'No server takes on work of this kind right now.', replyCodes.internal),
  LS_REQUEST_INVALID: entry(false, 'The command does not follow the protocol.', replyCodes.badRequest),
  LS_MESSAGE_TOO_LARGE: entry(
    false,
    'The message is too large. Send less at once.',
    replyCodes.limitExceeded,
  ),
} as const

export type ErrorCode = keyof typeof errorCatalogue

function entry(retryable: boolean, publicMessage: string, reply: ReplyCode): CatalogueEntry {
  return { retryable, publicMessage, reply }
}

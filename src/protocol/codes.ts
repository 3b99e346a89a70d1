/**
 * Numbers of the Centrifuge client protocol that Lockstep sends, and its own inside the ranges the protocol
 * leaves to applications. Sources: centrifugal.dev `docs/server/codes` and `docs/transports/client_protocol`.
 */

/** Codes of an error reply. 400 to 1999 are Lockstep's own; the official SDKs treat those as terminal. */
export const replyCodes = {
  internal: 100,
  unauthorized: 101,
  unknownChannel: 102,
  permissionDenied: 103,
  methodNotFound: 104,
  alreadySubscribed: 105,
  limitExceeded: 106,
  badRequest: 107,
  notAvailable: 108,
  tokenExpired: 109,
  tooManyRequests: 111,
  unrecoverablePosition: 112,
  inputInvalid: 400,
  operationIdInvalid: 401,
  operationIdReused: 402,
  forbidden: 403,
  outcomePending: 404,
  nodeStopping: 405,
  operationExpired: 406,
  tokenNotYetValid: 407,
} as const

/** An error reply with one of these codes may be answered differently when the same command is sent again. */
export const temporaryReplyCodes: ReadonlySet<number> = new Set([
  replyCodes.internal,
  replyCodes.tooManyRequests,
  replyCodes.outcomePending,
  replyCodes.nodeStopping,
  replyCodes.tokenNotYetValid,
])

/** Codes of an unsubscribe push. From 2500 on the client resubscribes with recovery, below it does not. */
export const unsubscribeCodes = {
  server: 2000,
  insufficientState: 2500,
} as const

/**
 * WebSocket close codes. The client reconnects after 3000 to 3499 and 4000 to 4499, and gives up after 3500 to
 * 3999 and 4500 to 4999. So a code of the latter ranges is for what the same client can only get refused again: no
 * limit that others use up, no time that ran out, and no input of a single command.
 */
export const closeCodes = {
  shutdown: 3001,
  serverError: 3004,
  expired: 3005,
  slow: 3008,
  insufficientState: 3010,
  reconnect: 3011,
  noPong: 3012,
  invalidToken: 3500,
  badRequest: 3501,
  permissionDenied: 3507,
  connectionLimit: 4000,
  connectTimeout: 4001,
  messageTooLarge: 4500,
  originRefused: 4501,
} as const

export type ReplyCode = (typeof replyCodes)[keyof typeof replyCodes]
export type UnsubscribeCode = (typeof unsubscribeCodes)[keyof typeof unsubscribeCodes]
export type CloseCode = (typeof closeCodes)[keyof typeof closeCodes]

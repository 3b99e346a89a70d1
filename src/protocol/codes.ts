/**
 * Numbers of the Centrifuge client protocol that Lockstep sends, and its own inside the ranges the protocol
 * leaves to applications. Sources: centrifugal.dev `docs/server/codes` and `docs/transports/client_protocol`.
 */
import * as closeCodes from './close-codes.ts'
import * as replyCodes from './reply-codes.ts'
import * as unsubscribeCodes from './unsubscribe-codes.ts'

export { closeCodes, replyCodes, unsubscribeCodes }

// Codes that the client looks at, one by one: a page's bundle then holds their numbers, and no table.
export {
  inputInvalid as inputInvalidCode,
  internal as internalCode,
  limitExceeded as limitExceededCode,
  nodeStopping as nodeStoppingCode,
  operationExpired as operationExpiredCode,
  operationIdInvalid as operationIdInvalidCode,
  outcomePending as outcomePendingCode,
  tokenExpired as tokenExpiredCode,
  tooManyRequests as tooManyRequestsCode,
  unknownChannel as unknownChannelCode,
  unrecoverablePosition as unrecoverablePositionCode,
} from './reply-codes.ts'
export {
  invalidToken as invalidTokenClose,
  messageTooLarge as messageTooLargeClose,
  originRefused as originRefusedClose,
  permissionDenied as permissionDeniedClose,
} from './close-codes.ts'
export { server as serverUnsubscribe } from './unsubscribe-codes.ts'

/** An error reply with one of these codes may be answered differently when the same command is sent again. */
export const temporaryReplyCodes: ReadonlySet<number> = new Set([
  replyCodes.internal,
  replyCodes.tooManyRequests,
  replyCodes.outcomePending,
  replyCodes.nodeStopping,
  replyCodes.tokenNotYetValid,
])

export type ReplyCode = (typeof replyCodes)[keyof typeof replyCodes]
export type UnsubscribeCode = (typeof unsubscribeCodes)[keyof typeof unsubscribeCodes]
export type CloseCode = (typeof closeCodes)[keyof typeof closeCodes]

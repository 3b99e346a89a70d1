import { isLockstepError, isOfUnknownCode, messageOf, type UserContext } from '../../core/index.ts'
import { FailedCheck, userFields, type Credentials } from '../../auth/index.ts'
import { failureReply, refusalReply } from '../wire/replies.ts'
import type { SessionContext } from './session-context.ts'

/** A `connect` or a refresh that is not granted. */
export interface Denial {
  /** Id of the command. */
  readonly id: number
  readonly error: unknown
  readonly credentials: Credentials
  readonly user: UserContext | undefined
}

/** The connection that asked. */
export interface DeniedConnection {
  readonly id: string
  push(reply: string): void
  /** Ends the connection for good. */
  refuseToken(error: unknown): void
}

/** Answers. 109 makes a client that connects fetch a new token; any other token that is not good ends it for good. */
export function deny(
  connection: DeniedConnection,
  { refusals, failedChecks, ports }: Pick<SessionContext, 'refusals' | 'failedChecks' | 'ports'>,
  { id, error, credentials, user }: Denial,
): void {
  // A peer without a token has no other one to fetch.
  if (isExpiredToken(error) && credentials.token !== '')
    return connection.push(refusalReply(id, 'LS_TOKEN_EXPIRED'))
  if (isLockstepError(error, 'LS_UNAUTHENTICATED') || isLockstepError(error, 'LS_USER_ID_INVALID')) {
    return connection.refuseToken(error)
  }
  // `auth` meant to refuse, by a code that there is not: the same token would be refused so for ever.
  if (isOfUnknownCode(error)) return connection.refuseToken(error)
  if (error instanceof FailedCheck && failedChecks.isHopeless(credentials)) {
    return connection.refuseToken(error.cause)
  }
  const requestId = `${connection.id}/${id}`
  if (error instanceof FailedCheck)
    refusals.note('auth_failed', () => ({ why: messageOf(error.cause), error: error.cause, requestId }))
  else ports.logger.error({ error, requestId, ...userFields(user) }, `connect failed: ${messageOf(error)}`)
  connection.push(failureReply(id, error, requestId))
}

export function isExpiredToken(error: unknown): boolean {
  return isLockstepError(error, 'LS_UNAUTHENTICATED') && error.details['expired'] === true
}

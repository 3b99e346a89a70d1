import type { Notice } from '../protocol/index.ts'
import { errorCatalogue, type ErrorCode } from '../core/index.ts'
import { databaseErrorCode, thrownErrorCode } from '../postgres/index.ts'

/** What an operation's definition says of its rollback. */
export interface RollbackOptions {
  /** For the person who asked, in their words: what did not happen. */
  readonly userMessage?: string
  /** What they can do now, as words the application's screen knows, such as `retry`. */
  readonly recoveryActions?: readonly string[]
}

export interface NoticeFacts {
  readonly operationId: string
  readonly operationName: string
  readonly rollback: RollbackOptions
  readonly code: ErrorCode
  readonly affectedLayers: readonly string[]
}

const defaultUserMessage = 'This did not go through, and nothing was changed.'

export function createNotice(facts: NoticeFacts): Notice {
  const { publicMessage, retryable } = errorCatalogue[facts.code]
  return {
    transactionId: facts.operationId,
    failedOperation: facts.operationName,
    errorMessage: publicMessage,
    errorCode: facts.code,
    affectedLayers: facts.affectedLayers,
    recoveryActions: facts.rollback.recoveryActions ?? (retryable ? ['retry'] : []),
    userMessage: facts.rollback.userMessage ?? defaultUserMessage,
  }
}

/**
 * The catalogue code of what an operation failed with. The first error that its transaction saw decides, whatever the code
 * made of it; without one, what the code threw. What has no code is LS_OPERATION_FAILED.
 */
export function failureCode(thrown: unknown, seen?: unknown): ErrorCode {
  return databaseErrorCode(seen) ?? thrownErrorCode(thrown) ?? 'LS_OPERATION_FAILED'
}

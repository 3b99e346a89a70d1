import type { Notice, NoticedRefusal } from '../../protocol/index.ts'
import {
  aText,
  errorCatalogue,
  nested,
  refusalIn,
  texts,
  type ErrorCode,
  type Refusal,
} from '../../core/index.ts'
import { databaseErrorCode, thrownErrorCode } from '../../postgres/index.ts'

/** Words for the rollback of an operation, from its definition. */
export interface RollbackOptions {
  /** Words for the person who asked: what did not happen. */
  readonly userMessage?: string
  /** Actions that the user can take now, as words that the application's screen knows, such as `retry`. */
  readonly recoveryActions?: readonly string[]
}

/** Shape of the rollback options, which the declaration is checked against. */
export const rollbackExpectation = nested<RollbackOptions>({ userMessage: aText, recoveryActions: texts })

export interface NoticeFacts {
  readonly operationId: string
  readonly operationName: string
  readonly rollback: RollbackOptions
  readonly code: ErrorCode
  readonly affectedLayers: readonly string[]
  /** Refusal of the application. Present when the code is LS_OPERATION_REFUSED. */
  readonly refusal?: Refusal | undefined
}

const defaultUserMessage = 'This did not go through, and nothing was changed.'

export function createNotice(facts: NoticeFacts): Notice {
  const { publicMessage, retryable } = errorCatalogue[facts.code]
  const { refusal, rollback } = facts
  return {
    transactionId: facts.operationId,
    failedOperation: facts.operationName,
    errorMessage: publicMessage,
    errorCode: facts.code,
    affectedLayers: facts.affectedLayers,
    // Suggest no retry after a refusal: the same call would be refused again.
    recoveryActions: refusal === undefined ? (rollback.recoveryActions ?? (retryable ? ['retry'] : [])) : [],
    userMessage: refusal?.userMessage ?? rollback.userMessage ?? defaultUserMessage,
    ...(refusal === undefined ? {} : { refusal: noticed(refusal, facts.operationName) }),
  }
}

function noticed({ code, data, declaredBy }: Refusal, operationName: string): NoticedRefusal {
  return {
    code,
    ...(data === undefined ? {} : { data }),
    ...(declaredBy === operationName ? { declared: true } : {}),
  }
}

/**
 * The catalogue code of what an operation failed with. The first error that its transaction saw decides, whatever the code
 * made of it; without one, what the code threw. What has no code is LS_OPERATION_FAILED. A refusal may follow from an error of
 * the database, such as a violated constraint, but not from one that another attempt may not meet.
 */
export function failureCode(thrown: unknown, seen?: unknown): ErrorCode {
  const seenCode = databaseErrorCode(seen)
  const mayRefuse = seenCode === undefined || !errorCatalogue[seenCode].retryable
  if (mayRefuse && refusalIn(thrown) !== undefined) return 'LS_OPERATION_REFUSED'
  return seenCode ?? thrownErrorCode(thrown) ?? 'LS_OPERATION_FAILED'
}

import type { StreamPosition } from './envelopes.ts'

/** The event that carries a notice. */
export const rolledBackEvent = 'transaction_rolled_back'

/** RPC methods that Lockstep answers itself. */
export const reservedMethods = {
  outcomes: 'lockstep.outcomes',
  stopRun: 'lockstep.runs.stop',
  getRun: 'lockstep.runs.get',
  listRuns: 'lockstep.runs.list',
  drafts: 'lockstep.drafts',
} as const

/** Tells a user that an operation was rolled back, in words a person can read. */
export interface Notice {
  readonly transactionId: string
  readonly failedOperation: string
  /** Safe public text. The raw error stays in the server's log under the operation's id. */
  readonly errorMessage: string
  /** A code of the error catalogue. */
  readonly errorCode: string
  readonly affectedLayers: readonly string[]
  readonly recoveryActions: readonly string[]
  readonly userMessage: string
  /** Present where the application refused, by `refuse`. */
  readonly refusal?: NoticedRefusal
  /** Id of the run that has failed. Absent where an operation was rolled back. */
  readonly runId?: string
  /** True while the database could not be reached to make it durable; the durable one has the same id. */
  readonly transient?: true
}

/** Refusal as a notice carries it. */
export interface NoticedRefusal {
  readonly code: string
  readonly data?: unknown
  /** True where the operation declares the code, so that its data fits the declared schema. */
  readonly declared?: true
}

/** Refusal of an application that declares no types for it. */
export interface PlainRefusal {
  readonly code: string
  readonly data: unknown
}

/** Last event of the operation in each channel that it emitted to. */
export type Positions = Readonly<Record<string, StreamPosition>>

export interface Committed<Result = unknown> {
  readonly outcome: 'committed'
  readonly operationId: string
  readonly result: Result
  readonly positions: Positions
}

export interface RolledBack<Refused = PlainRefusal> {
  readonly outcome: 'rolled_back'
  readonly operationId: string
  readonly notice: Notice
  /** Refusal that the operation declares; undefined after any other failure. Filled in from the notice where it is read. */
  readonly refusal?: Refused | undefined
}

/** An outcome whose `refusal` is filled in, and a copy for that. */
export function withRefusal<Ended extends { readonly outcome: string }>(
  ended: Ended | RolledBack,
): Ended | RolledBack {
  if (!isRolledBack(ended)) return ended
  return { ...ended, refusal: declaredRefusalOf(ended.notice) }
}

/** The refusal that an operation or a task declares, in its notice. */
export function declaredRefusalOf(notice: unknown): PlainRefusal | undefined {
  const { code, data, declared } = (Object(notice) as Partial<Notice>).refusal ?? {}
  return declared === true && code !== undefined ? { code, data } : undefined
}

function isRolledBack(ended: { readonly outcome: string }): ended is RolledBack {
  return ended.outcome === 'rolled_back'
}

/**
 * Answer for an operation that is not decided yet, or whose outcome cannot be read while the database is away: ask
 * again.
 */
export interface Pending {
  readonly outcome: 'pending'
  readonly operationId: string
  /** Ask again no sooner: more ids of this user have been asked for that nobody had heard of than may be closed. */
  readonly retryAfterMs?: number
}

/** No such operation was ever accepted; its id is closed, so a late copy cannot commit. */
export interface NeverReceived {
  readonly outcome: 'never_received'
  readonly operationId: string
}

/** The id is older than outcomes are kept: the operation may have committed. Asking again answers the same. */
export interface Expired {
  readonly outcome: 'expired'
  readonly operationId: string
}

export type Outcome<Result = unknown, Refused = PlainRefusal> = Committed<Result> | RolledBack<Refused>

export type OutcomeAnswer<Result = unknown> = Outcome<Result> | Pending | NeverReceived | Expired

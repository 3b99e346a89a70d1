import type { StreamPosition } from './envelopes.ts'

/** Event types that Lockstep itself puts on a user's channel. The words are those of the coordination events. */
export const coordinationEvents = {
  transactionStarted: 'transaction_started',
  transactionCommitted: 'transaction_committed',
  transactionRolledBack: 'transaction_rolled_back',
  coordinationFailed: 'coordination_failed',
  layerSyncError: 'layer_sync_error',
} as const

/** RPC methods that Lockstep answers itself. */
export const reservedMethods = { outcomes: 'lockstep.outcomes' } as const

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
  /** True while the database could not be reached to make it durable; the durable one has the same id. */
  readonly transient?: true
}

/** Last event of the operation in each channel that it emitted to. */
export type Positions = Readonly<Record<string, StreamPosition>>

export interface Committed<Result = unknown> {
  readonly outcome: 'committed'
  readonly operationId: string
  readonly result: Result
  readonly positions: Positions
}

export interface RolledBack {
  readonly outcome: 'rolled_back'
  readonly operationId: string
  readonly notice: Notice
}

/** Not decided yet, or not to be found out while the database is away: ask again. */
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

export type Outcome<Result = unknown> = Committed<Result> | RolledBack

export type OutcomeAnswer<Result = unknown> = Outcome<Result> | Pending | NeverReceived

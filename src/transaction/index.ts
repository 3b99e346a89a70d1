/**
 * Room `transaction`: one operation, from its intent to its outcome: the user's work, the flush, the notice, and
 * the settlement of what a dead node left. It refuses to know sockets, and SQL of its own.
 */
export type { AppOf } from './app-types.ts'
export type { AuthorizeQuestion } from './call-gate.ts'
export { TransactionCoordinator, type OperationRequest } from './coordinator.ts'
export { EpochWatch, type HistoryChange } from './epoch-watch.ts'
export type { Ended } from './failure-settlement.ts'
export { IntentWriter } from './intent-writer.ts'
export { LateCalls } from './late-calls.ts'
export { NodeLease, type LeaseState } from './node-lease.ts'
export type { RollbackOptions } from './notice.ts'
export {
  hashInput,
  Operation,
  toUser,
  type CallOptions,
  type OperationContext,
  type OperationOptions,
} from './operation.ts'
export { OperationGuard } from './operation-guard.ts'
export { OrphanWatch } from './orphan-watch.ts'
export { Query, type QueryContext, type QueryOptions } from './query.ts'
export {
  Rollout,
  type EffectiveRollout,
  type RolloutOptions,
  type RolloutProvider,
  type RolloutProviderLogger,
} from './rollout.ts'
export { Settler } from './settlement.ts'
export { StoredOutcomes } from './stored-outcomes.ts'
export { toEventJson, type Transaction } from './transaction.ts'
export { UserScope, type OnBegin } from './user-scope.ts'

/**
 * Room `transaction`: one operation, from its intent to its outcome: the user's work, the flush, the notice, and
 * the settlement of what a dead node left. It refuses to know sockets, and SQL of its own.
 */
export type { TransactionCoordinator } from './operation/coordinator.ts'
export { createCoordinator } from './operation/create-coordinator.ts'
export type { EndedOperation, OperationRequest } from './operation/operation-request.ts'
export { IntentWriter } from './intents/intent-writer.ts'
export { LateCalls } from './intents/late-calls.ts'
export { createNotice, rollbackExpectation, type RollbackOptions } from './settle/notice.ts'
export { OperationGuard } from './operation/operation-guard.ts'
export { OrphanWatch } from './settle/orphan-watch.ts'
export { Settler } from './settle/settlement.ts'
export { OutcomeAnswers } from './settle/outcome-answers.ts'
export { StoredOutcomes, type Claim } from './settle/stored-outcomes.ts'
export { Contributions } from './parts/contributions.ts'
export { toEventJson } from './parts/event-json.ts'
export type { OnRollback } from './parts/operation-rollback-events.ts'
export type { ClosingEvents, Fence, Part, PartScope } from './parts/part.ts'
export { toPendingEvent, type PartEvent } from './parts/part-event.ts'
export { RollbackEventWriter } from './parts/rollback-event-writer.ts'
export type { RunStart, Startable, Transaction } from './operation/transaction.ts'
export { handleIn } from './operation/transaction-scope.ts'
export { UserScope, type OnBegin } from './operation/user-scope.ts'

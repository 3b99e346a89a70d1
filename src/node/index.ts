/** Room `node`: all rooms of the server, wired, started and ended as one node. It refuses to have rules of its own. */
export type {
  LockstepHealth,
  LockstepOptions,
  MonitorOptions,
  NodeHealth,
  TransactionOptions,
} from './options.ts'
export { Health } from './monitoring.ts'
export type { Rooms } from './compose.ts'
export { LockstepNode } from './node.ts'
export { operationHostOf } from './operation-host.ts'
export {
  assertCloseOptions,
  assertLockstepOptions,
  assertRevocation,
  assertTransactionOptions,
} from './option-shapes.ts'
export { assertCallableName, Callables } from './rpc.ts'
export { UndeclaredOperations } from './undeclared-operations.ts'

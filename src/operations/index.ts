/**
 * Room `operations`: what an application declares, with its inputs and who may call it. It refuses to know how an
 * operation is carried out.
 */
export type { AppOf } from './app-types.ts'
export type { AuthorizeQuestion } from './call-gate.ts'
export { Operation, type OperationHost, type ServerCall } from './operation.ts'
export { refusalsExpectation, type OperationContext, type OperationOptions } from './operation-options.ts'
export { hashInput } from './input-hash.ts'
export { Query, type QueryContext, type QueryOptions, type ServerRead } from './query.ts'
export { toUser, userExpectation } from './user.ts'

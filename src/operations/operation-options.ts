import {
  aFlag,
  aFunction,
  aNumber,
  aSchema,
  isolations,
  oneOf,
  required,
  valuesOf,
  type Expectation,
  type Isolation,
  type OutputOf,
  type RefusalSchemas,
  type Refuse,
  type Schema,
  type Shape,
  type UserContext,
} from '../core/index.ts'
import { rollbackExpectation, type RollbackOptions, type Transaction } from '../transaction/index.ts'
import { gateShape, type CallGateOptions } from './call-gate.ts'

export interface OperationContext<
  Db,
  Input,
  User extends UserContext = UserContext,
  Refusals extends RefusalSchemas = RefusalSchemas,
> {
  readonly input: Input
  readonly user: User
  readonly tx: Transaction<Db, User>
  /** Makes a refusal of a code that the operation declares, to be thrown. @throws LS_REFUSAL_INVALID */
  readonly refuse: Refuse<Refusals>
  /** Aborts when the operation is cancelled or the node stops. */
  readonly signal: AbortSignal
}

export interface OperationOptions<
  Db,
  User extends UserContext,
  InputSchema extends Schema,
  Result,
  Refusals extends RefusalSchemas,
> extends CallGateOptions<Db, User, InputSchema> {
  /** Words for the user when the operation is rolled back. */
  readonly rollback?: RollbackOptions
  /**
   * Refusals by code, each with the schema of its data, or `null` where there is none: `throw refuse('sold_out', {
   * userMessage, data })`. Its caller finds it, with its type, in the outcome.
   */
  readonly refusals?: Refusals
  /**
   * `false` saves the durable note at the start. What is lost: when the server dies in mid-transaction, nobody
   * sends the user a notice; only a client that asks for the outcome itself learns it. And it must commit within five
   * minutes of its call, or is rolled back (LS_OPERATION_TIMEOUT): other nodes cannot know that it runs.
   */
  readonly intent?: boolean
  /**
   * How long it may take from its beginning to its COMMIT, all attempts together, in milliseconds. Then it is rolled back
   * (LS_OPERATION_TIMEOUT). Default 30,000.
   */
  readonly timeoutMs?: number
  /** Isolation level of its transaction. Default `read committed`, whatever the default of the database is. */
  readonly isolation?: Isolation
  readonly run: (context: OperationContext<Db, OutputOf<InputSchema>, User, Refusals>) => Promise<Result>
}

const aRefusal: Expectation = {
  ...aSchema,
  expected: `${aSchema.expected}, or null for a refusal without data`,
  fits: (value) => value === null || aSchema.fits(value),
}

/** Refusals that are declared, by code. */
export const refusalsExpectation = valuesOf(aRefusal)

/** Options of an operation, each with the values that it may have. */
export const operationShape: Shape<OperationOptions<never, UserContext, Schema, unknown, RefusalSchemas>> = {
  ...gateShape,
  rollback: rollbackExpectation,
  refusals: refusalsExpectation,
  intent: aFlag,
  timeoutMs: aNumber,
  isolation: oneOf(isolations),
  run: required(aFunction),
}

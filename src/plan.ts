/** Published as `lockstep/plan`: an operation as a list of what belongs to it, and the event types of its coordination. */
import {
  aFunction,
  anything,
  assertOptions,
  assertValue,
  listOf,
  nested,
  required,
  serverUser,
  toJson,
  type Caller,
  type Channel,
  type Expectation,
  type Jsonify,
  type Shape,
  type UserContext,
} from './core/index.ts'
import type { Lockstep } from './lockstep.ts'
import type { TransactionOptions } from './node/index.ts'
import { userExpectation } from './operations/index.ts'
import { rollbackExpectation, type RollbackOptions, type Transaction } from './transaction/index.ts'

export { coordinationEvents } from './protocol/index.ts'

/** An event of `executeCoordinatedOperation`. */
export interface CoordinatedEvent {
  readonly channel: Channel
  readonly type: string
  readonly data: unknown
}

/** Argument of `executeCoordinatedOperation`. */
export interface CoordinatedOperation<Db, Result, User extends UserContext = UserContext> {
  readonly operationName: string
  /** User who is notified of a rollback. Default `serverUser`, whose notices only the log shows. */
  readonly user?: Caller<User>
  readonly operationId?: string
  readonly rollback?: RollbackOptions
  readonly databaseOperation: (tx: Transaction<Db, User>) => Promise<Result>
  /** Leave after the commit, in this order. */
  readonly websocketEvents?: readonly CoordinatedEvent[] | ((result: Result) => readonly CoordinatedEvent[])
  /** Run inside the transaction, after the database operation. */
  readonly agentStateUpdates?: readonly ((tx: Transaction<Db, User>) => Promise<void>)[]
}

/**
 * Runs one database operation with its events and agent states: they all commit, or none of them does. Answers with the result
 * of the database operation, as JSON has it.
 * @throws as `lockstep.transaction`
 */
export async function executeCoordinatedOperation<Db, User extends UserContext, Result>(
  lockstep: Pick<Lockstep<Db, User>, 'transaction'>,
  operation: CoordinatedOperation<Db, Result, User>,
): Promise<Jsonify<Result>> {
  assertCoordinatedOperation(operation)
  const { operationName: name, user, operationId: id, rollback } = operation
  const options: TransactionOptions<User> = {
    name,
    // The user of the server has no fields of the application's own.
    user: user ?? (serverUser as Caller<User>),
    ...(id === undefined ? {} : { id }),
    ...(rollback === undefined ? {} : { rollback }),
  }
  const ended = await lockstep.transaction(options, async (tx) => {
    const result = await operation.databaseOperation(tx)
    const { websocketEvents = [], agentStateUpdates = [] } = operation
    const events = typeof websocketEvents === 'function' ? websocketEvents(result) : websocketEvents
    assertAnsweredEvents(events)
    for (const { channel, type, data } of events) tx.emit(channel, type, data)
    for (const update of agentStateUpdates) await update(tx)
    return result
  })
  return toJson(ended) as Jsonify<Result>
}

// The channel, the type and the data have errors of their own, when they are emitted.
const event: Shape<CoordinatedEvent> = { channel: anything, type: anything, data: anything }

const events = listOf(nested(event, 'Write { channel, type, data }.'))

const websocketEvents: Expectation = {
  ...events,
  expected: 'a list of { channel, type, data }, or a function that answers with one',
  fits: (value) => Array.isArray(value) || typeof value === 'function',
  inside: (where, value, path) => {
    if (typeof value !== 'function') events.inside?.(where, value, path)
  },
}

const coordinated: Shape<CoordinatedOperation<never, unknown>> = {
  operationName: anything,
  user: { ...userExpectation, isRequired: false },
  operationId: anything,
  rollback: rollbackExpectation,
  databaseOperation: required(aFunction),
  websocketEvents,
  agentStateUpdates: listOf(aFunction),
}

function assertCoordinatedOperation(options: unknown): void {
  const hint = 'executeCoordinatedOperation(lockstep, { operationName, databaseOperation })'
  assertOptions('executeCoordinatedOperation', options, coordinated, hint)
}

/** The events that the function given as `websocketEvents` has answered with. */
function assertAnsweredEvents(answer: unknown): void {
  const expected = 'a function that answers with a list of { channel, type, data }'
  assertValue('executeCoordinatedOperation', answer, required({ ...events, expected }), 'websocketEvents()')
}

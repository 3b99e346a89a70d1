import { createHash } from 'node:crypto'
import {
  assertOperationId,
  assertUserId,
  assertWholeNumbers,
  causesOf,
  isLockstepError,
  newOperationId,
  serverUser,
  type ErrorCode,
  type InputOf,
  type LockstepError,
  type Moment,
  type OutputOf,
  type Schema,
  type UserContext,
} from '../core/index.ts'
import type { Outcome } from '../protocol/index.ts'
import { CallGate, type CallGateOptions } from './call-gate.ts'
import type { OperationRequest } from './coordinator.ts'
import type { Ended } from './failure-settlement.ts'
import type { RollbackOptions } from './notice.ts'
import type { OperationGuard } from './operation-guard.ts'
import type { Claim } from './stored-outcomes.ts'
import type { Transaction } from './transaction.ts'
import type { UserScope } from './user-scope.ts'

export interface OperationContext<Db, Input> {
  readonly input: Input
  readonly user: UserContext
  readonly tx: Transaction<Db>
  /** Aborts when the operation is cancelled or the node stops. */
  readonly signal: AbortSignal
}

export interface OperationOptions<Db, InputSchema extends Schema, Result> extends CallGateOptions<
  Db,
  InputSchema
> {
  /** What its user is told when it is rolled back. */
  readonly rollback?: RollbackOptions
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
  readonly run: (context: OperationContext<Db, OutputOf<InputSchema>>) => Promise<Result>
}

export interface CallOptions<Input> {
  readonly input: Input
  readonly user: UserContext | string
  /** UUID; the idempotency key. A new one when absent. */
  readonly id?: string
  /** The id may have been sent before. */
  readonly repeat?: boolean
  readonly signal?: AbortSignal
}

/** What operations need of the instance they belong to. */
export interface OperationHost<Db> {
  readonly scope: UserScope<Db>
  /** In development. */
  readonly guard?: Pick<OperationGuard, 'called'> | undefined
  earliestArrival(): Moment
  run<Result>(request: OperationRequest<Db, Result>): Promise<Ended<Result>>
  /** What became of an earlier call that was accepted, if there was one. */
  recall<Result>(id: string, claim: Claim): Promise<Ended<Result> | undefined>
}

/** A named operation: the same thing for a client's call, a call on the server, and a call inside another one. */
export class Operation<Name extends string, Db, InputSchema extends Schema, Result> {
  readonly kind = 'operation'
  readonly name: Name
  readonly #options: OperationOptions<Db, InputSchema, Result>
  readonly #host: OperationHost<Db>
  readonly #gate: CallGate<Db, InputSchema>
  /** Carries the types to `AppOf`; never set. */
  declare readonly types: { readonly input: InputOf<InputSchema>; readonly result: Result }

  constructor(name: Name, options: OperationOptions<Db, InputSchema, Result>, host: OperationHost<Db>) {
    this.name = name
    this.#options = options
    this.#host = host
    assertWholeNumbers({ timeoutMs: options.timeoutMs })
    this.#gate = new CallGate(name, options, host.scope)
  }

  get rollback(): RollbackOptions {
    return this.#options.rollback ?? {}
  }

  /**
   * Runs it to its outcome. A rollback is an outcome, not a throw.
   * @throws LS_INPUT_INVALID, LS_FORBIDDEN and what else means "not accepted"; LS_OUTCOME_PENDING
   */
  async call(options: CallOptions<InputOf<InputSchema>>): Promise<Outcome<Result>> {
    return (await this.execute(options)).outcome
  }

  /** As `call`, for this process: with the error that made it roll back. */
  async execute(options: CallOptions<unknown>): Promise<Ended<Result>> {
    // Before anything is awaited: the stack still tells who calls.
    const origin = this.#host.guard?.called(this.name)
    const since = this.#host.earliestArrival()
    const id = options.id ?? newOperationId()
    assertOperationId(id)
    const user = toUser(options.user)
    let input: OutputOf<InputSchema>
    let failure: { readonly error: unknown } | undefined
    try {
      input = await this.#gate.validate(options.input)
      // A check that could not be made (the database is away, say) is no refusal: the operation is accepted, rolls
      // back, and its user is told as of any other failure.
      failure = await this.#gate.authorize(input, user).then(
        () => undefined,
        (error: unknown) => {
          const refusal = refusalIn(error)
          if (refusal !== undefined) throw refusal
          return { error }
        },
      )
    } catch (refusal) {
      return this.#earlierOr(refusal, user, options)
    }
    return this.#host.run({
      id,
      name: this.name,
      since,
      user,
      inputHash: hashInput(this.name, options.input),
      rollback: this.rollback,
      intent: this.#options.intent ?? true,
      repeat: options.repeat,
      signal: options.signal,
      timeoutMs: this.#options.timeoutMs,
      origin,
      work: this.#host.scope.begin(async (tx) => {
        if (failure !== undefined) throw failure.error
        return this.#options.run(toContext(input, user, tx))
      }),
    })
  }

  /**
   * A copy whose reply was lost may be refused by what its first has done: whoever has left a room is no member any more.
   * "Not accepted" would then be untrue, so the first one's outcome is the answer.
   * @throws the refusal where there was no such call; LS_OUTCOME_PENDING, LS_OPERATION_EXPIRED
   */
  async #earlierOr(
    refusal: unknown,
    user: UserContext,
    { id, input }: CallOptions<unknown>,
  ): Promise<Ended<Result>> {
    // An id that was made here is no copy's; and a busy node says "try again", which is true of copies, too.
    if (id === undefined || isLockstepError(refusal, 'LS_NODE_OVERLOADED')) throw refusal
    let inputHash: string
    try {
      inputHash = hashInput(this.name, input)
    } catch {
      // What has no digest was never accepted.
      throw refusal
    }
    const earlier = await this.#host.recall<Result>(id, { userId: user.id, inputHash })
    if (earlier === undefined) throw refusal
    return earlier
  }

  /**
   * Runs it inside another operation, joined by a savepoint: it commits with the outer one, under its id.
   * @throws as `call`, and what `run` throws, after the savepoint was rolled back
   */
  async within(tx: Transaction<Db>, value: InputOf<InputSchema>): Promise<Result> {
    const input = await this.#gate.validate(value)
    return tx.transaction(async (inner) => {
      // Over the connection that this has: as many as the pool has could each hold one and wait for another.
      await this.#gate.authorize(input, tx.user, inner.db)
      return this.#options.run(toContext(input, tx.user, inner))
    })
  }
}

const notAccepted: ReadonlySet<ErrorCode> = new Set([
  'LS_FORBIDDEN',
  'LS_NODE_OVERLOADED',
  'LS_NODE_STOPPING',
  'LS_NODE_FENCED',
])

/** The error by which a check refused the call, or had no turn to be made; undefined for any other. */
function refusalIn(thrown: unknown): LockstepError | undefined {
  for (const error of causesOf(thrown)) {
    if (isLockstepError(error) && notAccepted.has(error.code)) return error
  }
  return undefined
}

/** The signal is made only for code that asks for it. */
function toContext<Db, Input>(
  input: Input,
  user: UserContext,
  tx: Transaction<Db>,
): OperationContext<Db, Input> {
  return {
    input,
    user,
    tx,
    get signal() {
      return tx.signal
    },
  }
}

/** A user as given by the caller, checked and frozen. @throws LS_USER_ID_INVALID */
export function toUser(user: UserContext | string): UserContext {
  const context = typeof user === 'string' ? { id: user } : user
  if (context === serverUser) return serverUser
  assertUserId(context.id)
  return Object.isFrozen(context) ? context : Object.freeze({ ...context })
}

/** Digest of an operation's name and input; the order of keys does not matter. */
export function hashInput(name: string, input: unknown): string {
  return createHash('sha256')
    .update(name)
    .update('\0')
    .update(canonicalJson(input) ?? '')
    .digest('base64url')
}

function canonicalJson(value: unknown): string | undefined {
  return JSON.stringify(value, (_key, inner: unknown) =>
    typeof inner === 'object' && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).toSorted(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  )
}

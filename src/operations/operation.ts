import {
  aFlag,
  anything,
  aSignal,
  assertOperationId,
  assertOptions,
  assertWholeNumbers,
  describeGiven,
  hasMethods,
  isLockstepError,
  LockstepError,
  lockstepErrorIn,
  newOperationId,
  type Caller,
  DeclaredRefusals,
  type ErrorCode,
  type InputOf,
  type Jsonify,
  toJson,
  type Moment,
  type OutputOf,
  type RefusalOf,
  type RefusalSchemas,
  type Schema,
  type Shape,
  type UserContext,
} from '../core/index.ts'
import { withRefusal, type Outcome, type RolledBack } from '../protocol/index.ts'
import { toUser, userExpectation } from './user.ts'
import { CallGate } from './call-gate.ts'
import {
  type OperationRequest,
  type EndedOperation,
  type RollbackOptions,
  type OperationGuard,
  type Claim,
  type Transaction,
  type UserScope,
} from '../transaction/index.ts'
import { hashInput } from './input-hash.ts'
import { operationShape, type OperationOptions } from './operation-options.ts'

/** Options of a call on the server. */
export interface ServerCall<User extends UserContext = UserContext> {
  readonly user: Caller<User>
  /** UUID; the idempotency key. A new one when absent. With one the result may be that of an earlier call, as JSON has it. */
  readonly id?: string
  /** The id may have been sent before. */
  readonly repeat?: boolean
  readonly signal?: AbortSignal
}

/** A call as it reaches the operation, from here or from a client. */
export interface OperationCall extends ServerCall {
  readonly input: unknown
}

/** Services of the instance that an operation belongs to. */
export interface OperationHost<Db> {
  readonly scope: UserScope<Db>
  /** Set in development only. */
  readonly guard?: Pick<OperationGuard, 'called'> | undefined
  earliestArrival(): Moment
  run<Result>(request: OperationRequest<Db, Result>): Promise<EndedOperation<Result>>
  /** Finds the end of an earlier call that was accepted, if there was one. */
  recall<Result>(id: string, claim: Claim): Promise<EndedOperation<Result> | undefined>
}

const callShape: Shape<ServerCall> = {
  user: userExpectation,
  // Has an error of its own.
  id: anything,
  repeat: aFlag,
  signal: aSignal,
}

/** A named operation: the same thing for a client's call, a call on the server, and a call inside another one. */
export class Operation<
  Name extends string,
  Db,
  User extends UserContext,
  InputSchema extends Schema,
  Result,
  Refusals extends RefusalSchemas,
  Internal extends boolean = false,
> {
  readonly kind = 'operation'
  readonly name: Name
  /** True where only the server calls it. */
  readonly internal: Internal
  readonly #options: OperationOptions<Db, User, InputSchema, Result, Refusals>
  readonly #host: OperationHost<Db>
  readonly #gate: CallGate<Db, User, InputSchema>
  readonly #refusals: DeclaredRefusals<Refusals>
  /** Carries the types to `AppOf`; never set. */
  declare readonly types: {
    readonly input: InputOf<InputSchema>
    readonly result: Jsonify<Result>
    readonly refusal: RefusalOf<Refusals>
  }

  constructor(
    name: Name,
    options: OperationOptions<Db, User, InputSchema, Result, Refusals>,
    host: OperationHost<Db>,
  ) {
    const hint = `lockstep.operation("${name}", { input, run })`
    assertOptions(`operation "${name}"`, options, operationShape, hint)
    this.name = name
    this.internal = (options.internal ?? false) as Internal
    this.#options = options
    this.#host = host
    assertWholeNumbers({ timeoutMs: options.timeoutMs })
    this.#gate = new CallGate(name, options, host.scope)
    // An operation that declares no refusals has no code to refuse with.
    this.#refusals = new DeclaredRefusals(name, options.refusals ?? ({} as Refusals))
  }

  get rollback(): RollbackOptions {
    return this.#options.rollback ?? {}
  }

  /**
   * Runs it to its outcome. A rollback is an outcome, not a throw.
   * @throws LS_INPUT_INVALID, LS_FORBIDDEN and what else means "not accepted"; LS_OUTCOME_PENDING; LS_CONFIG_INVALID for
   * options that are unknown or missing
   */
  call(
    input: InputOf<InputSchema>,
    options: ServerCall<User> & { readonly id?: undefined },
  ): Promise<Outcome<Result, RefusalOf<Refusals>>>
  call(
    input: InputOf<InputSchema>,
    options: ServerCall<User>,
  ): Promise<Outcome<Jsonify<Result>, RefusalOf<Refusals>>>
  async call(
    input: unknown,
    options: ServerCall<User>,
  ): Promise<Outcome<Result | Jsonify<Result>, RefusalOf<Refusals>>> {
    assertOptions(`the call of "${this.name}"`, options, callShape, `${this.name}.call(input, { user })`)
    const { outcome } = await this.execute({ ...(options as unknown as ServerCall), input })
    if (outcome.outcome === 'committed') {
      return options.id === undefined ? outcome : { ...outcome, result: toJson(outcome.result) }
    }
    // The notice has a refusal of a code and with data that this operation declares.
    return withRefusal(outcome) as RolledBack<RefusalOf<Refusals>>
  }

  /** Calls the operation as `call` does, for this process: with the error that made it roll back. */
  async execute(options: OperationCall): Promise<EndedOperation<Result>> {
    // Capture the caller before anything is awaited: the stack still names it.
    const origin = this.#host.guard?.called(this.name)
    const since = this.#host.earliestArrival()
    const id = options.id ?? newOperationId()
    assertOperationId(id)
    // The types of an application's users exist at compile time only.
    const user = toUser(options.user) as User
    let input: OutputOf<InputSchema>
    let failure: { readonly error: unknown } | undefined
    try {
      input = await this.#gate.validate(options.input)
      // A check that could not be made (the database is away, say) is no refusal: the operation is accepted, rolls
      // back, and its user is notified as of any other failure.
      failure = await this.#gate.authorize(input, user).then(
        () => undefined,
        (error: unknown) => {
          const refusal = lockstepErrorIn(error, notAccepted)
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
      isolation: this.#options.isolation,
      origin,
      work: this.#host.scope.begin(async (tx) => {
        try {
          if (failure !== undefined) throw failure.error
          return await this.#run(input, tx as Transaction<Db, User>)
        } catch (error) {
          throw this.#refusals.adopt(error)
        }
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
    { id, input }: OperationCall,
  ): Promise<EndedOperation<Result>> {
    // An id that was made here is no copy's; and a busy node says "try again", which is true of copies, too.
    if (id === undefined || isLockstepError(refusal, 'LS_NODE_OVERLOADED')) throw refusal
    let inputHash: string
    try {
      inputHash = hashInput(this.name, input)
    } catch {
      // Rethrow the refusal: an input without a digest was never accepted.
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
  async within(tx: Transaction<Db, User>, value: InputOf<InputSchema>): Promise<Result> {
    assertTransaction(this.name, tx)
    const input = await this.#gate.validate(value)
    return tx.transaction(async (inner) => {
      // Authorize over the connection that this transaction has: as many operations as the pool has connections could
      // each hold one and wait for another.
      await this.#gate.authorize(input, tx.user, inner.db)
      return this.#run(input, inner)
    })
  }

  #run(input: OutputOf<InputSchema>, tx: Transaction<Db, User>): Promise<Result> {
    return this.#options.run({
      input,
      user: tx.user,
      tx,
      refuse: this.#refusals.refuse,
      // Create the signal only for code that asks for it.
      get signal() {
        return tx.signal
      },
    })
  }
}

/** Refuses what is no transaction of an operation, in which another one could run. @throws LS_CONFIG_INVALID */
function assertTransaction(name: string, tx: unknown): void {
  if (hasMethods(tx, ['transaction', 'emit'])) return
  throw new LockstepError('LS_CONFIG_INVALID', {
    message: `"${name}" runs within a transaction, and got ${describeGiven(tx)} for it. Write ${name}.within(tx, input).`,
  })
}

/** Codes by which a check refuses the call, or had no turn to be made. */
const notAccepted: ReadonlySet<ErrorCode> = new Set([
  'LS_FORBIDDEN',
  'LS_NODE_OVERLOADED',
  'LS_NODE_STARTING',
  'LS_NODE_STOPPING',
  'LS_NODE_FENCED',
])

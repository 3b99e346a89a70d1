import {
  aFunction,
  aSignal,
  assertOptions,
  required,
  lockstepErrorIn,
  type Caller,
  type Channel,
  type InputOf,
  type Jsonify,
  toJson,
  type OutputOf,
  type Schema,
  type Shape,
  type UserContext,
} from '../core/index.ts'
import { readHeads, toHeads } from '../postgres/index.ts'
import type { Positions, StreamPosition } from '../protocol/index.ts'
import { toUser, userExpectation } from './user.ts'
import { CallGate, gateShape, type CallGateOptions } from './call-gate.ts'
import type { UserScope } from '../transaction/index.ts'

export interface QueryContext<Db, Input, User extends UserContext = UserContext> {
  readonly input: Input
  readonly user: User
  /** Reads one state of the database (REPEATABLE READ, read only). */
  readonly db: Db
  /** Position of a channel in that same state: subscribe from there, and nothing is missed or seen twice. */
  readonly position: (channel: Pick<Channel, 'name'>) => Promise<StreamPosition>
  readonly signal: AbortSignal
}

export interface QueryOptions<
  Db,
  User extends UserContext,
  InputSchema extends Schema,
  Result,
> extends CallGateOptions<Db, User, InputSchema> {
  readonly run: (context: QueryContext<Db, OutputOf<InputSchema>, User>) => Promise<Result>
}

/** Options of a read on the server. */
export interface ServerRead<User extends UserContext = UserContext> {
  readonly user: Caller<User>
  readonly signal?: AbortSignal
}

/** Services of the instance that a query belongs to. */
export interface QueryHost<Db> {
  readonly scope: UserScope<Db>
  start(): Promise<void>
}

const readShape: Shape<ServerRead> = { user: userExpectation, signal: aSignal }

const optionShape: Shape<QueryOptions<never, UserContext, Schema, unknown>> = {
  ...gateShape,
  run: required(aFunction),
}

/** A named read, all of one snapshot. It has no id and no outcome: it may be repeated at will. */
export class Query<
  Name extends string,
  Db,
  User extends UserContext,
  InputSchema extends Schema,
  Result,
  Internal extends boolean = false,
> {
  readonly kind = 'query'
  readonly name: Name
  /** True where only the server reads it. */
  readonly internal: Internal
  readonly #options: QueryOptions<Db, User, InputSchema, Result>
  readonly #host: QueryHost<Db>
  readonly #gate: CallGate<Db, User, InputSchema>
  /** Carries the types to `AppOf`; never set. */
  declare readonly types: { readonly input: InputOf<InputSchema>; readonly result: Jsonify<Result> }

  constructor(name: Name, options: QueryOptions<Db, User, InputSchema, Result>, host: QueryHost<Db>) {
    assertOptions(`query "${name}"`, options, optionShape, `lockstep.query("${name}", { input, run })`)
    this.name = name
    this.internal = (options.internal ?? false) as Internal
    this.#options = options
    this.#host = host
    this.#gate = new CallGate(name, options, host.scope)
  }

  /**
   * Reads on the server: the result as JSON has it, and where the channels stand whose `position` it has asked for.
   * @throws LS_INPUT_INVALID, LS_FORBIDDEN, database errors, and what `run` throws
   */
  async read(
    input: InputOf<InputSchema>,
    options: ServerRead<User>,
  ): Promise<{ readonly value: Jsonify<Result>; readonly positions: Positions }> {
    assertOptions(`the read of "${this.name}"`, options, readShape, `${this.name}.read(input, { user })`)
    const { user, signal = new AbortController().signal } = options as unknown as ServerRead
    const positions: Record<string, StreamPosition> = {}
    await this.#host.start()
    const value = await this.#answer(input, toUser(user), signal, positions)
    return { value: toJson(value) as Jsonify<Result>, positions }
  }

  /** Reads as `read` does, for a client. */
  execute(value: unknown, user: UserContext, signal: AbortSignal): Promise<Result> {
    return this.#answer(value, user, signal, {})
  }

  async #answer(
    value: unknown,
    asking: UserContext,
    signal: AbortSignal,
    positions: Record<string, StreamPosition>,
  ): Promise<Result> {
    // The types of an application's users exist at compile time only.
    const user = asking as User
    const input = await this.#gate.validate(value)
    try {
      await this.#gate.authorize(input, user)
      return await this.#read(input, user, signal, positions)
    } catch (error) {
      // ORMs wrap what they get, and a refusal is one all the same.
      throw lockstepErrorIn(error) ?? error
    }
  }

  #read(
    input: OutputOf<InputSchema>,
    user: User,
    signal: AbortSignal,
    positions: Record<string, StreamPosition>,
  ): Promise<Result> {
    const { scope } = this.#host
    return scope.snapshot(user, ({ db, own }) =>
      this.#options.run({
        input,
        user,
        db,
        signal,
        position: async ({ name }) => {
          const { rows } = await own.query(readHeads(scope.schema, [name]))
          const { heads, epoch } = toHeads(rows)
          const position = { offset: heads.get(name) ?? 0, epoch }
          positions[name] = position
          return position
        },
      }),
    )
  }
}

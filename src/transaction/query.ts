import { type Channel, type InputOf, type OutputOf, type Schema, type UserContext } from '../core/index.ts'
import { readHeads, toHeads } from '../postgres/index.ts'
import type { StreamPosition } from '../protocol/index.ts'
import { CallGate, type CallGateOptions } from './call-gate.ts'
import type { UserScope } from './user-scope.ts'

export interface QueryContext<Db, Input> {
  readonly input: Input
  readonly user: UserContext
  /** Reads one state of the database (REPEATABLE READ, read only). */
  readonly db: Db
  /** Where a channel stands in that same state: subscribe from there, and nothing is missed or seen twice. */
  readonly position: (channel: Pick<Channel, 'name'>) => Promise<StreamPosition>
  readonly signal: AbortSignal
}

export interface QueryOptions<Db, InputSchema extends Schema, Result> extends CallGateOptions<
  Db,
  InputSchema
> {
  readonly run: (context: QueryContext<Db, OutputOf<InputSchema>>) => Promise<Result>
}

/** A named read, all of one snapshot. It has no id and no outcome: it may be repeated at will. */
export class Query<Name extends string, Db, InputSchema extends Schema, Result> {
  readonly kind = 'query'
  readonly name: Name
  readonly #options: QueryOptions<Db, InputSchema, Result>
  readonly #scope: UserScope<Db>
  readonly #gate: CallGate<Db, InputSchema>
  /** Carries the types to `AppOf`; never set. */
  declare readonly types: { readonly input: InputOf<InputSchema>; readonly result: Result }

  constructor(name: Name, options: QueryOptions<Db, InputSchema, Result>, scope: UserScope<Db>) {
    this.name = name
    this.#options = options
    this.#scope = scope
    this.#gate = new CallGate(name, options, scope)
  }

  /** @throws LS_INPUT_INVALID, LS_FORBIDDEN, database errors, and what `run` throws */
  async execute(value: unknown, user: UserContext, signal: AbortSignal): Promise<Result> {
    const input = await this.#gate.validate(value)
    await this.#gate.authorize(input, user)
    return this.#scope.snapshot(user, ({ db, own }) =>
      this.#options.run({
        input,
        user,
        db,
        signal,
        position: async ({ name }) => {
          const { rows } = await own.query(readHeads(this.#scope.schema, [name]))
          const { heads, epoch } = toHeads(rows)
          return { offset: heads.get(name) ?? 0, epoch }
        },
      }),
    )
  }
}

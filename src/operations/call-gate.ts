import { mutationPoint } from '../protocol/mutation-point.ts'
import {
  aFlag,
  aFunction,
  aSchema,
  LockstepError,
  required,
  validate,
  type OutputOf,
  type Schema,
  type Shape,
  type UserContext,
} from '../core/index.ts'
import type { UserScope } from '../transaction/index.ts'

export interface AuthorizeQuestion<Db, Input, User extends UserContext = UserContext> {
  readonly input: Input
  readonly user: User
  /**
   * Database for reads: outside the transaction, and inside it where the operation is part of another one (`within`).
   * With `onBegin`, a snapshot that it has begun.
   */
  readonly db: Db
}

/** Checks that operations and queries share, made before they run. */
export interface CallGateOptions<Db, User extends UserContext, InputSchema extends Schema> {
  readonly input: InputSchema
  /** Decides before any other work is done. Only `true` lets the call through. */
  readonly authorize?: (
    question: AuthorizeQuestion<Db, OutputOf<InputSchema>, User>,
  ) => boolean | Promise<boolean>
  /** `true`: only the server calls it. Clients are answered as for a name that is not declared. */
  readonly internal?: boolean
}

/** Shape of the options, which the declaration is checked against. */
export const gateShape: Shape<CallGateOptions<never, UserContext, Schema>> = {
  input: required(aSchema),
  authorize: aFunction,
  internal: aFlag,
}

/** Lets calls with valid input of users who may make them pass. */
export class CallGate<Db, User extends UserContext, InputSchema extends Schema> {
  readonly #name: string
  readonly #options: CallGateOptions<Db, User, InputSchema>
  readonly #scope: UserScope<Db>

  constructor(name: string, options: CallGateOptions<Db, User, InputSchema>, scope: UserScope<Db>) {
    this.#name = name
    this.#options = options
    this.#scope = scope
  }

  /** @throws LS_INPUT_INVALID */
  validate(value: unknown): Promise<OutputOf<InputSchema>> {
    const schema: Schema<unknown, OutputOf<InputSchema>> = this.#options.input
    return validate(schema, value, 'LS_INPUT_INVALID', `input of ${this.#name}`)
  }

  /** @throws LS_FORBIDDEN, and what the check itself throws */
  async authorize(input: OutputOf<InputSchema>, user: User, db?: Db): Promise<void> {
    const { authorize } = this.#options
    if (authorize === undefined) return
    const ask = (handle: Db): boolean | Promise<boolean> => authorize({ input, user, db: handle })
    // Code without types may answer anything: a row that was found, or a promise within an object.
    const answer: unknown = await (db === undefined ? this.#scope.check(user, ask) : ask(db))
    if (mutationPoint('a check that answers anything but no lets through') && Boolean(answer)) return
    if (answer === true) return
    const facts = { call: this.#name, user: user.id }
    if (answer === false) throw new LockstepError('LS_FORBIDDEN', { details: facts })
    const answered = answer === null ? 'null' : typeof answer
    throw new LockstepError('LS_FORBIDDEN', {
      message: `authorize of "${this.#name}" answered ${answered}, and only true lets a call through.`,
      details: { ...facts, answered },
    })
  }
}

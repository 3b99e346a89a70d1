import { LockstepError, validate, type OutputOf, type Schema, type UserContext } from '../core/index.ts'
import type { UserScope } from './user-scope.ts'

export interface AuthorizeQuestion<Db, Input> {
  readonly input: Input
  readonly user: UserContext
  /**
   * For reads: outside the transaction, and inside it where the operation is part of another one (`within`). With
   * `onBegin`, a snapshot that it has begun.
   */
  readonly db: Db
}

/** What an operation and a query ask of a call before they run. */
export interface CallGateOptions<Db, InputSchema extends Schema> {
  readonly input: InputSchema
  /** Asked before anything else is done. Only `true` lets the call through. */
  readonly authorize?: (question: AuthorizeQuestion<Db, OutputOf<InputSchema>>) => boolean | Promise<boolean>
}

/** Lets calls with valid input of users who may make them pass. */
export class CallGate<Db, InputSchema extends Schema> {
  readonly #name: string
  readonly #options: CallGateOptions<Db, InputSchema>
  readonly #scope: UserScope<Db>

  constructor(name: string, options: CallGateOptions<Db, InputSchema>, scope: UserScope<Db>) {
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
  async authorize(input: OutputOf<InputSchema>, user: UserContext, db?: Db): Promise<void> {
    const { authorize } = this.#options
    if (authorize === undefined) return
    const ask = (handle: Db): boolean | Promise<boolean> => authorize({ input, user, db: handle })
    // Code without types may answer anything: a row that was found, or a promise within an object.
    const answer: unknown = await (db === undefined ? this.#scope.check(user, ask) : ask(db))
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

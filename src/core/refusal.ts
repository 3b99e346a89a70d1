import { limits } from '../protocol/index.ts'
import { causesOf, LockstepError } from './errors.ts'
import { describeGiven } from './given.ts'
import { jsonFault } from './json-fault.ts'
import type { Jsonify } from './json.ts'
import { listNames, suggestion } from './nearest.ts'
import { validateSync, type InputOf, type OutputOf, type Schema } from './schema.ts'
import { messageOf, peek } from './thrown.ts'

/** Refusals of an operation by code, each with the schema of its data; `null` where there is none. */
export type RefusalSchemas = Readonly<Record<string, Schema | null>>

const noRefusals = {}
/** Refusals of an operation that declares none. */
export type NoRefusals = typeof noRefusals

type RefusalData<S> = S extends Schema ? { readonly data: InputOf<S> } : { readonly data?: undefined }

/** Makes the refusal of an operation, to be thrown. @throws LS_REFUSAL_INVALID */
export type Refuse<R extends RefusalSchemas> = <Code extends keyof R & string>(
  code: Code,
  words: { readonly userMessage: string } & RefusalData<R[Code]>,
) => Refusal

/** Union of what an operation declares that it refuses, as its caller sees it. */
export type RefusalOf<R extends RefusalSchemas> = {
  [Code in keyof R & string]: {
    readonly code: Code
    readonly data: R[Code] extends Schema ? Jsonify<OutputOf<R[Code]>> : undefined
  }
}[keyof R & string]

/** Brand in the registry of all realms: a second copy of the package has a class of its own. */
const brand = Symbol.for('lockstep.refusal')

/** A decision of the application against what was asked for. Made by `refuse`, and thrown. */
export class Refusal extends Error {
  readonly code: string
  /** Words for the person who asked. */
  readonly userMessage: string
  /** Data as JSON gives it back. */
  readonly data: unknown
  /** Name of the operation whose `refusals` the data fits. */
  readonly declaredBy: string | undefined

  constructor(
    code: string,
    words: { readonly userMessage: string; readonly data?: unknown },
    declaredBy?: string,
  ) {
    super(`refused: ${code}`)
    this.name = 'Refusal'
    this.code = code
    this.userMessage = words.userMessage
    this.data = words.data
    this.declaredBy = declaredBy
  }

  get [brand](): true {
    return true
  }
}

/**
 * Makes a refusal for code that knows no operation, to be thrown. An operation that declares the code gives it its type; else the
 * client finds the code, as a text, in the notice.
 * @throws LS_REFUSAL_INVALID
 */
export function refuse(
  code: string,
  words: { readonly userMessage: string; readonly data?: unknown },
): Refusal {
  assertWords(code, words, `refuse("${code}", …)`)
  return new Refusal(code, { ...words, data: toData(words.data, `Refusal "${code}"`) })
}

/** The refusal among what was thrown and what it wraps, since ORMs wrap errors. Never throws. */
export function refusalIn(thrown: unknown): Refusal | undefined {
  for (const error of causesOf(thrown)) if (peek(error, brand) === true) return error as Refusal
  return undefined
}

/** Refusals that one operation or task declares. */
export class DeclaredRefusals<R extends RefusalSchemas> {
  readonly #operation: string
  readonly #schemas: R
  /** Names it in errors, such as `operation "send_message"`. */
  readonly #who: string

  constructor(operation: string, schemas: R, kind: 'operation' | 'task' = 'operation') {
    this.#operation = operation
    this.#schemas = schemas
    this.#who = `${kind} "${operation}"`
  }

  readonly refuse: Refuse<R> = (code, words) => {
    if (!Object.hasOwn(this.#schemas, code)) throw this.#unknown(code)
    assertWords(code, words, `refuse("${code}", …) in ${this.#who}`)
    return this.#declared(code, words)
  }

  /**
   * A thrown value as this operation passes it on: a refusal of other code, whose code this operation declares, becomes its
   * own.
   * @throws LS_REFUSAL_INVALID for data that this operation's schema does not fit
   */
  adopt(thrown: unknown): unknown {
    const refusal = refusalIn(thrown)
    if (refusal === undefined || refusal.declaredBy === this.#operation) return thrown
    return Object.hasOwn(this.#schemas, refusal.code) ? this.#declared(refusal.code, refusal) : thrown
  }

  #declared(
    code: string,
    { userMessage, data }: { readonly userMessage: string; readonly data?: unknown },
  ): Refusal {
    const schema = this.#schemas[code]
    const what = `refusal "${code}" of ${this.#who}`
    if (schema === null || schema === undefined) {
      if (data === undefined) return new Refusal(code, { userMessage }, this.#operation)
      throw invalid(
        `The ${what} takes no data, and got ${describeGiven(data)}. Declare a schema for it: refusals: { ${code}: z.object({ … }) }.`,
      )
    }
    const read = validateSync(schema, data, 'LS_REFUSAL_INVALID', `data of ${what}`)
    return new Refusal(code, { userMessage, data: toData(read, `The ${what}`) }, this.#operation)
  }

  #unknown(code: unknown): LockstepError {
    const names = Object.keys(this.#schemas)
    const meant = typeof code === 'string' ? suggestion(code, names) : ''
    const declared = names.length === 0 ? 'It declares none.' : `It declares: ${listNames(names)}.`
    return invalid(
      `${this.#who.replace(/^./, (letter) => letter.toUpperCase())} declares no refusal ${typeof code === 'string' ? `"${code}"` : `of ${describeGiven(code)}`}. Add it to its refusals.${meant} ${declared}`,
    )
  }
}

function assertWords(code: unknown, words: unknown, where: string): void {
  if (typeof code !== 'string' || code === '') {
    throw invalid(
      `refuse takes a code, and got ${describeGiven(code)}. Write refuse("sold_out", { userMessage: "…" }).`,
    )
  }
  if (typeof peek(words, 'userMessage') === 'string') return
  throw invalid(
    `${where} needs words for the user, and got ${describeGiven(words)}. Write { userMessage: "Only a few are left." }.`,
  )
}

function toData(data: unknown, what: string): unknown {
  if (data === undefined) return undefined
  const fault = faultOf(data)
  if (fault !== undefined) throw invalid(`${what} has ${fault}, which JSON cannot hold.`)
  const text = JSON.stringify(data)
  const bytes = Buffer.byteLength(text)
  if (bytes > limits.maxRefusalBytes) {
    throw invalid(`${what} has ${bytes} bytes of data, at most ${limits.maxRefusalBytes} are allowed.`)
  }
  return JSON.parse(text)
}

/** The application's own getters and `toJSON` may throw. */
function faultOf(data: unknown): string | undefined {
  try {
    return jsonFault(data, 'data')
  } catch (error) {
    return `data that cannot be read (${messageOf(error)})`
  }
}

function invalid(message: string): LockstepError {
  return new LockstepError('LS_REFUSAL_INVALID', { message })
}

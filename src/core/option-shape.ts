import { LockstepError } from './errors.ts'
import { describeGiven, describeKind, isPromise } from './given.ts'
import { listNames, suggestion } from './nearest.ts'
import { peek } from './thrown.ts'

/**
 * Checks of what an application gives to Lockstep, made when it is given: code without types learns at once which name
 * is misspelt and which value cannot be. A `Shape` has a row for each option of its type, held by the compiler, so that
 * no option can be added and left unknown here.
 */

/** An option and its allowed values, in words that go on from "must be". Absent is allowed unless it is required. */
export interface Expectation {
  readonly expected: string
  readonly fits: (value: unknown) => boolean
  readonly isRequired?: boolean
  /** The value is never repeated. */
  readonly isSecret?: boolean
  /** Says what to write instead, where the mistake is a usual one. */
  readonly advice?: (value: unknown) => string | undefined
  /** Checks what is inside, under this path. @throws LS_CONFIG_INVALID */
  readonly inside?: (where: string, value: unknown, path: string) => void
}

/** The options of a type, each with what it may be. */
export type Shape<Options> = { readonly [Name in keyof Options]-?: Expectation }

/**
 * Refuses names that are unknown, and values that cannot be.
 * @param where completes "no option of", such as `createLockstep` or `operation "send"`
 * @param hint example of the right call, for options that are no object
 * @throws LS_CONFIG_INVALID
 */
export function assertOptions<Options>(
  where: string,
  options: unknown,
  shape: Shape<Options>,
  hint?: string,
): void {
  if (!isPlainEnough(options)) {
    const write = hint === undefined ? '' : ` Write ${hint}.`
    throw invalid(`${where} takes an object of options, and got ${describeKind(options)}.${write}`)
  }
  assertInside(where, options, shape, '')
}

/** Checks options under a path. @throws LS_CONFIG_INVALID */
export function assertInside<Options>(
  where: string,
  options: object,
  shape: Shape<Options>,
  path: string,
): void {
  for (const name of Object.keys(options)) {
    if (Object.hasOwn(shape, name)) continue
    const names = Object.keys(shape)
    throw invalid(
      `"${path}${name}" is no option of ${where}.${suggestion(name, names, path)} Known: ${listNames(names, path)}.`,
    )
  }
  for (const [name, expectation] of expectationsOf(shape)) {
    const value = peek(options, name)
    if (value !== undefined || expectation.isRequired === true) {
      assertValue(where, value, expectation, `${path}${name}`)
    }
  }
}

/** Rows of the shapes that were asked for. Each call of an operation is checked, and listing them takes longer than the check. */
const rows = new WeakMap<object, readonly (readonly [name: string, expectation: Expectation])[]>()

function expectationsOf<Options>(shape: Shape<Options>): readonly (readonly [string, Expectation])[] {
  let known = rows.get(shape)
  if (known === undefined) rows.set(shape, (known = Object.entries<Expectation>(shape)))
  return known
}

/** Checks a value by itself. @throws LS_CONFIG_INVALID */
export function assertValue(where: string, value: unknown, expectation: Expectation, path: string): void {
  if (value === undefined && expectation.isRequired !== true) return
  if (value === undefined || !expectation.fits(value)) throw unfit(where, value, expectation, path)
  expectation.inside?.(where, value, path)
}

function unfit(
  where: string,
  value: unknown,
  { expected, isSecret = false, advice }: Expectation,
  path: string,
): LockstepError {
  const words = advice?.(value)
  const write = words === undefined ? (isPromise(value) ? ' Write await before it.' : '') : ` ${words}`
  if (value === undefined) return invalid(`${where} needs the option "${path}": ${expected}.${write}`)
  const given = isSecret ? describeKind(value) : describeGiven(value)
  return invalid(`The option "${path}" of ${where} must be ${expected}, and is ${given}.${write}`)
}

/** Refuses what is no function, where an entry takes one. @throws LS_CONFIG_INVALID */
export function assertWork(work: unknown, entry: string): void {
  if (typeof work === 'function') return
  throw invalid(
    `${entry} takes a function, and got ${describeGiven(work)}. Write ${entry}(async () => { … }).`,
  )
}

/** Arrays and functions have no options, nor has what is still awaited. */
export function isPlainEnough(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !isPromise(value)
}

function invalid(message: string): LockstepError {
  return new LockstepError('LS_CONFIG_INVALID', { message })
}

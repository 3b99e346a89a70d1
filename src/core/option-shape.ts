import { LockstepError } from './errors.ts'
import { describeGiven, describeKind, hasMethods, isPromise } from './given.ts'
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

function assertInside<Options>(where: string, options: object, shape: Shape<Options>, path: string): void {
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
function isPlainEnough(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !isPromise(value)
}

function invalid(message: string): LockstepError {
  return new LockstepError('LS_CONFIG_INVALID', { message })
}

const isText = (value: unknown): boolean => typeof value === 'string'
const isFunction = (value: unknown): boolean => typeof value === 'function'

export const anything: Expectation = { expected: 'anything', fits: () => true }
export const aText: Expectation = { expected: 'a text', fits: isText }
export const aFunction: Expectation = { expected: 'a function', fits: isFunction }
export const aFlag: Expectation = {
  expected: 'true or false',
  fits: (value) => typeof value === 'boolean',
}
/** A number whose bounds are checked where it is used, as by `assertWholeNumbers`. */
export const aNumber: Expectation = { expected: 'a number', fits: (value) => typeof value === 'number' }
export const aList: Expectation = { expected: 'a list', fits: Array.isArray }
export const texts: Expectation = {
  expected: 'a list of texts',
  fits: (value) => Array.isArray(value) && value.every(isText),
  advice: (value) => (isText(value) ? 'Write it in brackets: ["…"].' : undefined),
}
export const aSignal: Expectation = {
  expected: 'an AbortSignal',
  fits: (value) => typeof peek(value, 'aborted') === 'boolean',
  advice: (value) => (hasMethods(value, ['abort']) ? 'Write controller.signal.' : undefined),
}
export const aSchema: Expectation = {
  expected: 'a schema that follows Standard Schema, such as z.object({ … }) of zod 3.24 or later',
  fits: (value) => hasMethods(peek(value, '~standard'), ['validate']),
}

export function required(expectation: Expectation): Expectation {
  return { ...expectation, isRequired: true }
}

/** Finite, from `least` on and up to `most`. */
export function numberFrom(least: number, most?: number): Expectation {
  return {
    expected: most === undefined ? `a number of at least ${least}` : `a number from ${least} to ${most}`,
    fits: (value) =>
      Number.isFinite(value) && (value as number) >= least && (value as number) <= (most ?? Infinity),
  }
}

export const aboveZero: Expectation = {
  expected: 'a number above zero',
  fits: (value) => Number.isFinite(value) && (value as number) > 0,
}

export function oneOf(values: readonly string[]): Expectation {
  return {
    expected: `one of ${listNames(values)}`,
    fits: (value) => values.some((one) => one === value),
    advice: (value) => (typeof value === 'string' ? suggestion(value, values).trim() : undefined),
  }
}

export function withMethods(...names: readonly string[]): Expectation {
  const last = names.at(-1)
  return {
    expected: `an object with ${names.length > 1 ? `${names.slice(0, -1).join(', ')} and ${last}` : last}`,
    fits: (value) => hasMethods(value, names),
    isSecret: true,
  }
}

/** Options within options. */
export function nested<Options>(shape: Shape<Options>, advice?: string): Expectation {
  return {
    expected: 'an object of options',
    fits: isPlainEnough,
    // A text in its place may be an address, or a key.
    isSecret: true,
    advice: () => advice,
    inside: (where, value, path) => assertInside(where, value as object, shape, `${path}.`),
  }
}

/** An object with any names, each of whose values is checked. */
export function valuesOf(expectation: Expectation): Expectation {
  return {
    expected: 'an object',
    fits: isPlainEnough,
    inside: (where, value, path) => {
      for (const name of Object.keys(value as object)) {
        assertValue(where, peek(value, name), required(expectation), `${path}.${name}`)
      }
    },
  }
}

/** A list, each of whose entries is checked. */
export function listOf(
  expectation: Expectation,
  advice?: (value: unknown) => string | undefined,
): Expectation {
  return {
    ...aList,
    ...(advice === undefined ? {} : { advice }),
    inside: (where, value, path) => {
      for (const [index, each] of (value as readonly unknown[]).entries()) {
        assertValue(where, each, required(expectation), `${path}[${index}]`)
      }
    },
  }
}

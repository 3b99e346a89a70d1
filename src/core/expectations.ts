import { hasMethods } from './given.ts'
import { listNames, suggestion } from './nearest.ts'
import { assertInside, assertValue, isPlainEnough, type Expectation, type Shape } from './option-shape.ts'
import { peek } from './thrown.ts'

/** Values that options may have, in the words of errors. */

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

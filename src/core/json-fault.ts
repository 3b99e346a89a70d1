import { describeGiven } from './given.ts'
import type { Jsonify } from './json.ts'
import { peek } from './thrown.ts'

/** A value as it comes back from JSON. */
export function toJson<T>(value: T): Jsonify<T> {
  // JSON has no text for `undefined`.
  const text = JSON.stringify(value) as string | undefined
  return (text === undefined ? undefined : JSON.parse(text)) as Jsonify<T>
}

/**
 * Finds what JSON cannot hold in a value, or would silently lose: `data.amount, the BigInt 3`. Undefined where it is whole.
 * @param path begins the place, such as `data`
 */
export function jsonFault(value: unknown, path: string): string | undefined {
  return faultIn(value, path, [])
}

const deepest = 64

function faultIn(given: unknown, path: string, within: readonly object[]): string | undefined {
  const convert = peek(given, 'toJSON')
  const value: unknown = typeof convert === 'function' ? Reflect.apply(convert, given, ['']) : given
  if (
    typeof value === 'bigint' ||
    typeof value === 'function' ||
    typeof value === 'symbol' ||
    isCollection(value)
  ) {
    return `${path}, ${describeGiven(value)}`
  }
  if (typeof value === 'number' && !Number.isFinite(value)) return `${path}, ${describeGiven(value)}`
  if (typeof value !== 'object' || value === null) return undefined
  if (within.includes(value)) return `${path}, which contains itself`
  if (within.length >= deepest) return `${path}, which is deeper than ${deepest} levels`
  for (const [key, inner] of Object.entries(value)) {
    const place = Array.isArray(value) ? `${path}[${key}]` : `${path}.${key}`
    const fault = faultIn(inner, place, [...within, value])
    if (fault !== undefined) return fault
  }
  return undefined
}

/** Collections become an empty object in JSON, without a word. */
function isCollection(value: unknown): boolean {
  return value instanceof Map || value instanceof Set
}

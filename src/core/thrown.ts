/**
 * Looks at values that somebody else's code threw. Nothing here throws: a getter that throws, a proxy whose traps
 * throw, a cycle or a BigInt ends no catch block.
 */

/** `value[key]`, or undefined where there is none or reading it throws. */
export function peek(value: unknown, key: PropertyKey): unknown {
  if ((typeof value !== 'object' || value === null) && typeof value !== 'function') return undefined
  try {
    return Reflect.get(value, key)
  } catch {
    return undefined
  }
}

/** The first items of a list at `value[key]`; none where there is no list, or it cannot be read. */
export function peekList(value: unknown, key: PropertyKey): readonly unknown[] {
  try {
    const list = peek(value, key)
    return Array.isArray(list) ? list.slice(0, mostEntries) : []
  } catch {
    return []
  }
}

/** `instanceof Error`, for values whose prototype may refuse to be read. */
export function isError(value: unknown): value is Error {
  try {
    return value instanceof Error
  } catch {
    return false
  }
}

const unreadable = 'a value that cannot be read'

/** The text of anything that was thrown. */
export function messageOf(thrown: unknown): string {
  if (isError(thrown)) {
    const message = peek(thrown, 'message')
    if (typeof message === 'string') return message
  }
  try {
    return String(thrown)
  } catch {
    return unreadable
  }
}

const longestText = 16_384
const mostEntries = 100
const deepest = 8

/** Copies the parts of a value that JSON can hold, cut to a size fit for a log line. */
export function toPlain(value: unknown): unknown {
  return plainOf(value, [])
}

function plainOf(value: unknown, within: readonly object[]): unknown {
  if (typeof value === 'object' && value !== null) return plainObject(value, within)
  if (typeof value === 'string') return cut(value)
  if (typeof value === 'bigint') return `${value}n`
  if (typeof value === 'symbol') return String(value)
  // A function may be a proxy, too, which JSON would look into.
  return typeof value === 'function' ? '[function]' : value
}

function cut(text: string): string {
  return text.length > longestText ? `${text.slice(0, longestText)}… (${text.length} characters)` : text
}

function plainObject(value: object, within: readonly object[]): unknown {
  if (within.includes(value)) return '[circular]'
  if (within.length >= deepest) return '[too deep]'
  const inside = [...within, value]
  try {
    if (isError(value)) return plainError(value, inside)
    if (Array.isArray(value)) return value.slice(0, mostEntries).map((item) => plainOf(item, inside))
    const toJson = peek(value, 'toJSON')
    if (typeof toJson === 'function') return plainOf(Reflect.apply(toJson, value, ['']), inside)
    return plainEntries(value, Object.keys(value).slice(0, mostEntries), inside)
  } catch {
    return `[${unreadable}]`
  }
}

// Named fields only: a driver's error can carry its client, and with it the password.
function plainError(error: Error, inside: readonly object[]): unknown {
  return plainEntries(error, ['name', 'message', 'code', 'details', 'stack', 'cause', 'errors'], inside)
}

function plainEntries(value: object, keys: readonly string[], inside: readonly object[]): unknown {
  return Object.fromEntries(keys.map((key) => [key, plainOf(peek(value, key), inside)]))
}

import { isError, peek } from './thrown.ts'

/**
 * Names what somebody's code gave, for the text of an error: its type, and a little of it. Never throws. What may be a
 * secret is described by `describeKind`.
 */
export function describeGiven(value: unknown): string {
  if (typeof value === 'string') return `the text ${JSON.stringify(excerpt(value))}`
  if (typeof value === 'number') return `the number ${value}`
  if (typeof value === 'bigint') return `the BigInt ${excerpt(String(value))}`
  return typeof value === 'boolean' ? String(value) : describeKind(value)
}

/** Describes a value as `describeGiven` does, without a word of the value itself. */
export function describeKind(value: unknown): string {
  if (typeof value === 'string')
    return value === '' ? 'an empty text' : `a text of ${value.length} characters`
  if (typeof value === 'function') return isClass(value) ? `the class ${nameOf(value)}` : 'a function'
  if (typeof value === 'object' && value !== null) return describeObject(value)
  if (value === undefined || value === null) return String(value)
  return typeof value === 'bigint' ? 'a BigInt' : `a ${typeof value}`
}

/** Whether a value has to be awaited first. */
export function isPromise(value: unknown): boolean {
  return typeof value === 'object' && value !== null && typeof peek(value, 'then') === 'function'
}

/** Whether all of these are functions of the value. Never throws. */
export function hasMethods(value: unknown, names: readonly PropertyKey[]): boolean {
  return names.every((name) => typeof peek(value, name) === 'function')
}

const longestExcerpt = 60
const mostKeys = 4

/** Cuts a text to an excerpt. Of an address it keeps the host alone: the rest may hold a password or a key. */
function excerpt(text: string): string {
  const scheme = /^[a-z][a-z0-9+.-]*:\/\//i.exec(text)?.[0]
  if (scheme !== undefined) return text.includes('@') ? `${scheme}…` : withoutPath(text, scheme)
  if (/\b(password|pass|pwd|secret|token|key)\s*=/i.test(text)) return '…'
  return text.length > longestExcerpt ? `${text.slice(0, longestExcerpt)}…` : text
}

function withoutPath(address: string, scheme: string): string {
  const host = /^[a-z0-9.:[\]-]*/i.exec(address.slice(scheme.length))?.[0] ?? ''
  return scheme.length + host.length === address.length ? address : `${scheme}${host}…`
}

function describeObject(value: object): string {
  if (Array.isArray(value)) return `a list of ${value.length}`
  if (isPromise(value)) return 'a promise'
  const name = isError(value) ? 'Error' : nameOf(peek(value, 'constructor'))
  if (name !== '' && name !== 'Object') return `${/^(?:[AEIO]|U[bgmnp])/.test(name) ? 'an' : 'a'} ${name}`
  const keys = keysOf(value)
  if (keys.length === 0) return 'an object without keys'
  return `an object with ${keys.slice(0, mostKeys).join(', ')}${keys.length > mostKeys ? ', …' : ''}`
}

function keysOf(value: object): readonly string[] {
  try {
    return Object.keys(value).map(excerpt)
  } catch {
    return []
  }
}

function nameOf(value: unknown): string {
  const name = peek(value, 'name')
  return typeof name === 'string' ? excerpt(name) : ''
}

function isClass(value: unknown): boolean {
  try {
    return Function.prototype.toString.call(value).startsWith('class') && nameOf(value) !== ''
  } catch {
    return false
  }
}

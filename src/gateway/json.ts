import { limits } from '../protocol/index.ts'

/** The peer does not follow the protocol: its connection is closed with 3501 and this text. */
export class MalformedMessage extends Error {
  constructor(reason: string) {
    super(reason)
    this.name = 'MalformedMessage'
  }
}

const quote = 0x22
const backslash = 0x5c

/**
 * Parses one JSON text of a stranger. Nesting is measured first, since a deep value breaks every recursive walk
 * after it; keys that reach a prototype and numbers that overflow to Infinity are refused anywhere.
 * @throws MalformedMessage
 */
export function parseJson(text: string): unknown {
  assertDepth(text)
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw new MalformedMessage('not JSON')
  }
  assertSafe(value, 0)
  return value
}

/** Text that is not JSON may be miscounted here; JSON.parse refuses it afterwards. */
function assertDepth(text: string): void {
  let depth = 0
  let inString = false
  for (let at = 0; at < text.length; at += 1) {
    const char = text.charCodeAt(at)
    if (inString) {
      if (char === backslash) at += 1
      else if (char === quote) inString = false
    } else if (char === quote) inString = true
    // [ and {, then ] and }: the second of each pair is the first with one more bit set.
    else if ((char | 0x20) === 0x7b) {
      depth += 1
      if (depth > limits.maxJsonDepth) throw new MalformedMessage('nested too deeply')
    } else if ((char | 0x20) === 0x7d) depth -= 1
  }
}

/** Walks at most `maxJsonDepth` deep. Returns how many keys were seen so far. */
function assertSafe(value: unknown, seen: number): number {
  if (typeof value === 'number' && !Number.isFinite(value)) throw new MalformedMessage('number out of range')
  if (typeof value !== 'object' || value === null) return seen
  let keys = seen
  if (Array.isArray(value)) {
    for (const item of value) keys = assertSafe(item, keys)
    return keys
  }
  for (const [key, item] of Object.entries(value)) {
    if (key === '__proto__' || key === 'constructor' || key === 'prototype') {
      throw new MalformedMessage('reserved key')
    }
    keys += 1
    if (keys > limits.maxJsonKeys) throw new MalformedMessage('too many keys')
    keys = assertSafe(item, keys)
  }
  return keys
}

/** @throws MalformedMessage */
export function asObject(value: unknown, what: string): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new MalformedMessage(`${what} must be an object`)
  }
  return value as Readonly<Record<string, unknown>>
}

/** An own property only: what a value inherits, such as `toString`, was not sent. */
export function own(object: Readonly<Record<string, unknown>>, key: string): unknown {
  return Object.hasOwn(object, key) ? object[key] : undefined
}

import { limits } from '../../protocol/index.ts'

/** The peer does not follow the protocol, or sends more than a bound allows. */
export class MalformedMessage extends Error {
  constructor(reason: string) {
    super(reason)
    this.name = 'MalformedMessage'
  }
}

/** A value that is legal JSON and yet beyond a bound: the one command that carries it is refused. */
export class InputBeyondBounds extends MalformedMessage {}

/**
 * Parses one JSON text of a stranger. The value may be of any depth: nothing but `boundedJson` may walk it.
 * @throws MalformedMessage
 */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw new MalformedMessage('not JSON')
  }
}

/**
 * The same value, safe to hand on: bounded in depth and in keys, since a deep value breaks every recursive walk after
 * this one, and without numbers that overflow to Infinity. `__proto__`, `constructor` and `prototype` are keys like
 * any other. An object that has a key `__proto__` comes back without a prototype, so that reading and writing that key
 * reaches the key and nothing else.
 * @throws InputBeyondBounds
 */
export function boundedJson(value: unknown): unknown {
  return new BoundedWalk().visit(value, 0)
}

class BoundedWalk {
  #keys = 0

  visit(value: unknown, depth: number): unknown {
    if (typeof value === 'number' && !Number.isFinite(value))
      throw new InputBeyondBounds('number out of range')
    if (typeof value !== 'object' || value === null) return value
    if (depth === limits.maxJsonDepth) {
      throw new InputBeyondBounds(`nested deeper than ${limits.maxJsonDepth} levels`)
    }
    return Array.isArray(value) ? this.#array(value, depth) : this.#object(value, depth)
  }

  #array(items: unknown[], depth: number): unknown[] {
    for (let index = 0; index < items.length; index += 1) {
      const item = items[index]
      const safe = this.visit(item, depth + 1)
      if (safe !== item) items[index] = safe
    }
    return items
  }

  #object(value: object, depth: number): object {
    const object = Object.hasOwn(value, '__proto__') ? withoutPrototype(value) : (value as JsonObject)
    for (const key of Object.keys(object)) {
      this.#keys += 1
      if (this.#keys > limits.maxJsonKeys) throw new InputBeyondBounds(`more than ${limits.maxJsonKeys} keys`)
      const item = object[key]
      const safe = this.visit(item, depth + 1)
      if (safe !== item) object[key] = safe
    }
    return object
  }
}

type JsonObject = Record<string, unknown>

function withoutPrototype(value: object): JsonObject {
  return Object.assign(Object.create(null) as JsonObject, value)
}

/** @throws MalformedMessage */
export function asObject(value: unknown, what: string): Readonly<JsonObject> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new MalformedMessage(`${what} must be an object`)
  }
  return value as Readonly<JsonObject>
}

/** An own property only: what a value inherits, such as `toString`, was not sent. */
export function own(object: Readonly<JsonObject>, key: string): unknown {
  return Object.hasOwn(object, key) ? object[key] : undefined
}

import { describeGiven, isError, isPromise, LockstepError } from '../../core/index.ts'
import { limits } from '../../protocol/index.ts'

/** A result as it is kept, and as it is given back: what JSON makes of it. */
export interface KeptValue {
  /** JSON text; null where there is no value. */
  readonly json: string | null
  readonly value: unknown
}

/**
 * Takes a result through JSON, so that the code of the first attempt gets what that of the next one will get.
 * @param who names what has returned it, such as `Step "charge" (task "fulfil")`
 * @throws LS_STEP_RESULT_INVALID for what JSON cannot hold, or would lose without a word; LS_RESULT_TOO_LARGE
 */
export function toKept(result: unknown, who: string): KeptValue {
  const fault = faultIn(result, 'result', [])
  if (fault !== undefined) {
    throw new LockstepError('LS_STEP_RESULT_INVALID', {
      message: `${who} returned ${fault.path}, ${fault.is}, which JSON cannot hold. Return ${fault.instead}.`,
    })
  }
  const json = JSON.stringify(result) as string | undefined
  if (json === undefined) return { json: null, value: undefined }
  const bytes = Buffer.byteLength(json)
  if (bytes > limits.maxResultBytes) {
    throw new LockstepError('LS_RESULT_TOO_LARGE', {
      message: `${who} returned ${bytes} bytes; at most ${limits.maxResultBytes} are allowed. Return where it is kept.`,
    })
  }
  return { json, value: JSON.parse(json) }
}

/** The value of a kept result. */
export function fromKept(json: string | null): unknown {
  return json === null ? undefined : JSON.parse(json)
}

/** Words for values that no expression turns into JSON. */
const meaning = 'what it stands for'

interface Fault {
  readonly path: string
  readonly is: string
  readonly instead: string
}

function faultIn(value: unknown, path: string, within: readonly object[]): Fault | undefined {
  if (typeof value === 'bigint') return { path, is: 'a BigInt', instead: `String(${lastOf(path)})` }
  if (typeof value === 'symbol' || typeof value === 'function')
    return { path, is: typeof value === 'symbol' ? 'a Symbol' : describeGiven(value), instead: meaning }
  if (typeof value === 'number' && !Number.isFinite(value))
    return { path, is: `the number ${value}`, instead: 'null' }
  return typeof value === 'object' && value !== null ? faultInObject(value, path, within) : undefined
}

function faultInObject(value: object, path: string, within: readonly object[]): Fault | undefined {
  if (within.includes(value))
    return { path, is: 'an object that contains itself', instead: 'a copy without the circle' }
  const inside = [...within, value]
  if ('toJSON' in value && typeof value.toJSON === 'function')
    return faultIn(value.toJSON(lastOf(path)), path, inside)
  if (Array.isArray(value)) {
    return firstFault(value.entries(), (index, item) => faultIn(item, `${path}[${index}]`, inside))
  }
  const lost = lossOf(value, lastOf(path))
  if (lost !== undefined) return { path, ...lost }
  return firstFault(Object.entries(value), (key, item) => faultIn(item, `${path}.${key}`, inside))
}

/** Names a value of which JSON would make an object with other content or none, without a word. */
function lossOf(value: object, name: string): Omit<Fault, 'path'> | undefined {
  if (isPromise(value)) return { is: 'a Promise', instead: `await ${name}` }
  if (isError(value)) return { is: 'an Error', instead: `${name}.message` }
  if (tagOf(value) === '[object BigInt]') return { is: 'a BigInt', instead: `String(${name})` }
  const is = describeGiven(value)
  if (value instanceof RegExp) return { is, instead: `String(${name})` }
  if (value instanceof Map || value instanceof Set) return { is, instead: `[...${name}]` }
  if (ArrayBuffer.isView(value)) return { is, instead: value instanceof DataView ? meaning : `[...${name}]` }
  return isSealed(value) ? { is, instead: meaning } : undefined
}

/** Whether an object keeps all that it has to itself, as an ArrayBuffer does: JSON would make an empty object of it. */
function isSealed(value: object): boolean {
  // A number, a text or a yes or no in an object of its own is written as itself.
  if (/Number|String|Boolean/.test(tagOf(value))) return false
  const prototype: unknown = Object.getPrototypeOf(value)
  // An object of another realm is one that begins no chain of its own.
  const isPlain = prototype === null || Object.getPrototypeOf(prototype) === null
  return !isPlain && Object.keys(value).length === 0
}

function tagOf(value: object): string {
  return Object.prototype.toString.call(value)
}

function firstFault<Key>(
  entries: Iterable<readonly [Key, unknown]>,
  find: (key: Key, item: unknown) => Fault | undefined,
): Fault | undefined {
  for (const [key, item] of entries) {
    const fault = find(key, item)
    if (fault !== undefined) return fault
  }
  return undefined
}

function lastOf(path: string): string {
  return path.split('.').at(-1) ?? path
}

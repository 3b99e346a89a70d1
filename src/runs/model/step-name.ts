import { createHash } from 'node:crypto'
import { describeGiven, LockstepError } from '../../core/index.ts'

/** Name of a step: a text, or a text with the key of one of many, such as `['item', 3]`. */
export type StepName = string | readonly [string, ...(string | number)[]]

const longestName = 200

/**
 * The text by which a step is known in the database.
 * @throws LS_CONFIG_INVALID for what is no name
 */
export function stepKey(name: unknown): string {
  const parts: readonly unknown[] = Array.isArray(name) ? name : [name]
  const [first] = parts
  const isName =
    typeof first === 'string' &&
    first !== '' &&
    parts.every((part) => typeof part === 'string' || Number.isFinite(part))
  // A text that looks like a list is written as one, so that no two names make the same key.
  const key = isName && parts.length === 1 && !first.startsWith('[') ? first : JSON.stringify(parts)
  if (isName && key.length <= longestName && !key.includes('\0') && !key.includes(String.raw`\u0000`))
    return key
  throw new LockstepError('LS_CONFIG_INVALID', {
    message:
      `The name of a step is a text, or a list of a text and keys such as ["item", 3], of 1 to ${longestName} characters ` +
      `without U+0000. Given: ${describeGiven(name)}.`,
  })
}

/** The first part of a name: the same for all steps of a loop, so it can name them in logs and metrics. */
export function familyOf(name: StepName): string {
  return typeof name === 'string' ? name : name[0]
}

/** An id that is the same for the same texts: a UUID of version 8 (RFC 9562) by SHA-256. */
export function derivedId(...texts: readonly (string | number)[]): string {
  const hash = createHash('sha256').update(JSON.stringify(texts)).digest('hex')
  const variant = (8 + (Number.parseInt(hash.charAt(16), 16) & 3)).toString(16)
  return `${hash.slice(0, 8)}-${hash.slice(8, 12)}-8${hash.slice(13, 16)}-${variant}${hash.slice(17, 20)}-${hash.slice(20, 32)}`
}

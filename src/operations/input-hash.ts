import { createHash } from 'node:crypto'
import { LockstepError, messageOf } from '../core/index.ts'

/** Digest of an operation's name and input; the order of keys does not matter. @throws LS_INPUT_INVALID */
export function hashInput(name: string, input: unknown): string {
  let json: string | undefined
  try {
    json = canonicalJson(input)
  } catch (cause) {
    const message = `input of ${name} cannot be written as JSON: ${messageOf(cause)}`
    throw new LockstepError('LS_INPUT_INVALID', { message, cause })
  }
  return createHash('sha256')
    .update(name)
    .update('\0')
    .update(json ?? '')
    .digest('base64url')
}

function canonicalJson(value: unknown): string | undefined {
  return JSON.stringify(value, (_key, inner: unknown) =>
    typeof inner === 'object' && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).toSorted(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  )
}

import { clientError, type LockstepClientError } from './errors.ts'

/** Milliseconds that a timer holds. Less than one would repeat without a pause. */
export const delay = 'number from 1 to 2147483647'
export const duration = 'number from 0 on'
export const abortSignal = 'AbortSignal'
export const ofPosition = '{ offset, epoch }, with a whole number as the offset'

/** Kinds of options, by name: one of the kinds above, or a result of `typeof`. */
type Kinds = Readonly<Record<string, string>>

/** A mistake in the code that calls the client. */
export function misuse(message: string): LockstepClientError {
  return clientError('LS_CLIENT_CONFIG_INVALID', message)
}

function fits(value: unknown, kind: string): boolean {
  const { offset, epoch, addEventListener } = Object(value) as { readonly [Name in string]?: unknown }
  switch (kind) {
    case delay:
      return isFrom(1, value) && value < 2 ** 31
    case duration:
      return isFrom(0, value)
    case abortSignal:
      return typeof addEventListener === 'function'
    case ofPosition:
      return isFrom(0, offset) && Number.isSafeInteger(offset) && typeof epoch === 'string'
    default:
      return typeof value === kind && value !== ''
  }
}

const isFrom = (least: number, value: unknown): value is number => typeof value === 'number' && value >= least

/** @throws LS_CLIENT_CONFIG_INVALID. The value is not repeated: it may be a token. */
export function assertKind(what: string, value: unknown, kind: string): void {
  if (!fits(value, kind)) throw misuse(`${what} must be of type ${kind}.`)
}

/** @throws LS_CLIENT_CONFIG_INVALID for an option that there is not, or of another kind */
export function assertOptions(of: string, given: object, kinds: Kinds): void {
  if (typeof given !== 'object' || given === null) throw misuse(`${of} takes an object of options.`)
  for (const [name, value] of Object.entries(given)) {
    const kind = kinds[name]
    if (kind === undefined)
      throw misuse(`${of} has no option "${name}", only ${Object.keys(kinds).join(', ')}.`)
    if (value !== undefined) assertKind(`"${name}" of ${of}`, value, kind)
  }
}

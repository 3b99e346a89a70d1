import { LockstepError } from './errors.ts'
import { describeGiven } from './given.ts'

/** Node's timers hold 31 bits of milliseconds; beyond, they fire at once. */
export const longestTimerMs = 2 ** 31 - 1

/**
 * Options that count something, or say how many milliseconds; what is absent has its default.
 * @throws LS_CONFIG_INVALID with the name of one that is out of bounds
 */
export function assertWholeNumbers(
  options: Readonly<Record<string, number | undefined>>,
  { least = 1, most = longestTimerMs }: { readonly least?: number; readonly most?: number } = {},
): void {
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined || (Number.isInteger(value) && value >= least && value <= most)) continue
    const given = typeof value === 'number' ? '' : ` Given: ${describeGiven(value)}.`
    throw new LockstepError('LS_CONFIG_INVALID', {
      message: `${name} must be a whole number from ${least} to ${most}.${given}`,
      details: { given: describeGiven(value) },
    })
  }
}

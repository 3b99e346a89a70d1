import { LockstepError } from './errors.ts'
import { describeGiven } from './given.ts'
import { anything } from './expectations.ts'
import { assertOptions, type Shape } from './option-shape.ts'
import { suggestion } from './nearest.ts'
import { fnv1a } from './hash.ts'
import { modes, type Mode } from './probe.ts'

/** How an operation is rolled out: `mode` for a share of its users, `otherwise` for the rest. */
export interface RolloutSetting {
  readonly mode: Mode
  /** Share of users, 0 to 100. A user stays on the same side while the share does not change. Default 100. */
  readonly percentage?: number
  /** Mode of users outside the share. Default `off`. */
  readonly otherwise?: Mode
}

export const enforced: Required<RolloutSetting> = { mode: 'enforce', percentage: 100, otherwise: 'off' }

const settingShape: Shape<RolloutSetting> = { mode: anything, percentage: anything, otherwise: anything }

/**
 * @param where names the setting in the text of an error
 * @throws LS_CONFIG_INVALID
 */
export function toRolloutSetting(
  value: Mode | RolloutSetting,
  where = 'a rollout',
): Required<RolloutSetting> {
  const given: unknown = typeof value === 'string' ? { mode: value } : value
  assertOptions(where, given, settingShape, `one of ${modes.join(', ')}, or { mode, percentage, otherwise }`)
  const { mode, percentage = 100, otherwise = 'off' } = given as RolloutSetting
  for (const one of [mode, otherwise]) {
    if (isMode(one)) continue
    throw new LockstepError('LS_CONFIG_INVALID', {
      message: `A rollout mode is one of ${modes.join(', ')}. Given for ${where}: ${describeGiven(one)}.${modeMeant(one)}`,
    })
  }
  if (!(typeof percentage === 'number' && percentage >= 0 && percentage <= 100)) {
    throw new LockstepError('LS_CONFIG_INVALID', {
      message: `The percentage of a rollout is 0 to 100. Given for ${where}: ${describeGiven(percentage)}.`,
    })
  }
  return { mode, percentage, otherwise }
}

function modeMeant(given: unknown): string {
  return typeof given === 'string' ? suggestion(given, modes) : ''
}

export function isMode(value: unknown): value is Mode {
  return modes.some((mode) => mode === value)
}

/** The mode that a setting means for one user of one operation. */
export function modeOfUser(setting: Required<RolloutSetting>, operation: string, userId: string): Mode {
  const { mode, percentage, otherwise } = setting
  if (percentage >= 100 || mode === otherwise) return mode
  return shareOf(operation, userId) < percentage ? mode : otherwise
}

/** A number from 0 to 100, evenly spread over users: FNV-1a, mixed by the finalizer of MurmurHash3. */
function shareOf(operation: string, userId: string): number {
  let hash = fnv1a(userId, 0, fnv1a('\0', 0, fnv1a(operation)))
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (((hash ^ (hash >>> 16)) >>> 0) / 2 ** 32) * 100
}

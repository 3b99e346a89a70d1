import { LockstepError } from './errors.ts'
import { modes, type Mode } from './probe.ts'

/** How an operation is rolled out: `mode` for a share of its users, `otherwise` for the rest. */
export interface RolloutSetting {
  readonly mode: Mode
  /** Of users, 0 to 100. A user stays on the same side while the share does not change. Default 100. */
  readonly percentage?: number
  /** For the users outside of the share. Default `off`. */
  readonly otherwise?: Mode
}

export const enforced: Required<RolloutSetting> = { mode: 'enforce', percentage: 100, otherwise: 'off' }

/** @throws LS_CONFIG_INVALID */
export function toRolloutSetting(value: Mode | RolloutSetting): Required<RolloutSetting> {
  const given: RolloutSetting = typeof value === 'string' ? { mode: value } : value
  const { mode, percentage = 100, otherwise = 'off' } = Object(given) as RolloutSetting
  if (!isMode(mode) || !isMode(otherwise)) {
    throw new LockstepError('LS_CONFIG_INVALID', { message: `A rollout mode is one of ${modes.join(', ')}.` })
  }
  if (!(typeof percentage === 'number' && percentage >= 0 && percentage <= 100)) {
    throw new LockstepError('LS_CONFIG_INVALID', { message: 'The percentage of a rollout is 0 to 100.' })
  }
  return { mode, percentage, otherwise }
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
  let hash = 0x811c9dc5
  for (const text of [operation, '\0', userId]) {
    for (let index = 0; index < text.length; index++) {
      hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193)
    }
  }
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (((hash ^ (hash >>> 16)) >>> 0) / 2 ** 32) * 100
}

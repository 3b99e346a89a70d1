/**
 * Room `rollout`: in which mode an operation runs. It refuses to know what a mode does.
 */
export { type EffectiveRollout, Rollout } from './rollout.ts'
export {
  type RolloutOptions,
  type RolloutProvider,
  type RolloutProviderLogger,
  rolloutShape,
} from './rollout-options.ts'

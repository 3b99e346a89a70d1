import { anything, valuesOf, withMethods, type Mode, type RolloutSetting, type Shape } from '../core/index.ts'

/**
 * A provider of feature flags in the shape of OpenFeature's server SDK. It is asked for the string flag
 * `lockstep.mode.<operation>` with the user as `targetingKey`.
 * @see https://openfeature.dev/specification/sections/providers
 */
export interface RolloutProvider {
  resolveStringEvaluation(
    flagKey: string,
    defaultValue: string,
    context: Readonly<Record<string, string>>,
    logger: RolloutProviderLogger,
  ): Promise<{ readonly value: string }>
}

/** The shape of OpenFeature's `Logger`. */
export interface RolloutProviderLogger {
  error(...values: unknown[]): void
  warn(...values: unknown[]): void
  info(...values: unknown[]): void
  debug(...values: unknown[]): void
}

/** Option `rollout` of `createLockstep`. */
export interface RolloutOptions {
  /** Mode of operations without a setting of their own. Default `enforce`. */
  readonly mode?: Mode | RolloutSetting
  readonly operations?: Readonly<Record<string, Mode | RolloutSetting>>
  /** Provider that is asked first, for every call; the settings decide where it answers with no mode. */
  readonly provider?: RolloutProvider
}

/** The settings themselves are checked by `toRolloutSetting`. */
export const rolloutShape: Shape<RolloutOptions> = {
  mode: anything,
  operations: valuesOf(anything),
  provider: withMethods('resolveStringEvaluation'),
}

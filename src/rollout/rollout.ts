import {
  anything,
  describeGiven,
  enforced,
  inTime,
  isMode,
  isOwnOperation,
  LockstepError,
  messageOf,
  modeOfUser,
  Repeat,
  toRolloutSetting,
  valuesOf,
  withMethods,
  type Clock,
  type Logger,
  type Mode,
  type Queryable,
  type RolloutSetting,
  type Shape,
  type UserContext,
} from '../core/index.ts'
import { deleteRollout, readRollouts, writeRollout, type RolloutRow } from '../postgres/index.ts'

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
  readonly default?: Mode | RolloutSetting
  readonly operations?: Readonly<Record<string, Mode | RolloutSetting>>
  /** Provider that is asked first, for every call; the settings decide where it answers with no mode. */
  readonly provider?: RolloutProvider
}

export interface RolloutHost {
  readonly own: Queryable
  readonly schema: string
  readonly clock: Clock
  readonly logger: Logger
}

/** The setting of one operation, and where it comes from. */
export interface EffectiveRollout extends Required<RolloutSetting> {
  readonly operation: string
  /** `stored`: set at run time. `configured`: an option. */
  readonly source: 'stored' | 'configured'
}

/** The settings themselves are checked by `toRolloutSetting`. */
export const rolloutShape: Shape<RolloutOptions> = {
  default: anything,
  operations: valuesOf(anything),
  provider: withMethods('resolveStringEvaluation'),
}

const pollMs = 2_000
const longestName = 200
const longestAnswerMs = 1_000

/**
 * Knows in which mode an operation runs. Lockstep's own operations always run in `enforce`: other nodes hear of a
 * revocation through the log, which the other modes do not write. What is changed on one node is seen by the others
 * within some seconds.
 */
export class Rollout {
  readonly #host: RolloutHost
  readonly #provider: RolloutProvider | undefined
  readonly #default: Required<RolloutSetting>
  readonly #configured = new Map<string, Required<RolloutSetting>>()
  #stored: ReadonlyMap<string, Required<RolloutSetting>> = new Map()
  /** Counts the changes made here, so that an answer that was read before one of them does not undo it. */
  #changes = 0
  readonly #polls: Repeat
  #providerFailed = false
  readonly #providerLogger: RolloutProviderLogger

  /** @throws LS_CONFIG_INVALID */
  constructor(host: RolloutHost, options: RolloutOptions = {}) {
    this.#host = host
    this.#provider = options.provider
    this.#default = toRolloutSetting(options.default ?? enforced, 'rollout.default')
    for (const [name, setting] of Object.entries(options.operations ?? {})) {
      assertSettable(name)
      this.#configured.set(name, toRolloutSetting(setting, `rollout.operations["${name}"]`))
    }
    const { clock, logger } = host
    this.#polls = new Repeat({
      clock,
      everyMs: pollMs,
      work: () => this.#read(),
      onError: (error) => logger.warn({ error: messageOf(error) }, 'the rollout settings were not read'),
    })
    const tell =
      (level: 'error' | 'warn' | 'info' | 'debug') =>
      (...values: unknown[]): void =>
        logger[level]({ values: values.map(messageOf) }, 'the rollout provider says')
    this.#providerLogger = {
      error: tell('error'),
      warn: tell('warn'),
      info: tell('info'),
      debug: tell('debug'),
    }
  }

  /** @throws database errors, when the settings cannot be read at the start */
  async start(): Promise<void> {
    await this.#read()
    this.#polls.start()
  }

  close(): Promise<void> {
    return this.#polls.close()
  }

  /** A promise only where a provider has to be asked. */
  modeOf(operation: string, user: UserContext): Mode | Promise<Mode> {
    if (isOwnOperation(operation)) return 'enforce'
    const mode = modeOfUser(this.#settingOf(operation), operation, user.id)
    return this.#provider === undefined ? mode : this.#ask(this.#provider, operation, user, mode)
  }

  /** Mode by the settings alone, for callers who ask after the fact. */
  settledModeOf(operation: string, userId: string): Mode {
    return isOwnOperation(operation) ? 'enforce' : modeOfUser(this.#settingOf(operation), operation, userId)
  }

  /** Operations whose setting is not the default, and the default as `*`. */
  list(): readonly EffectiveRollout[] {
    const names = new Set(['*', ...this.#configured.keys(), ...this.#stored.keys()])
    return [...names].map((operation) => {
      const stored = this.#stored.has(operation)
      return { operation, ...this.#settingOf(operation), source: stored ? 'stored' : 'configured' }
    })
  }

  /**
   * Changes it on every node: here at once, elsewhere within 5 s. `'*'` is every operation without a setting of its
   * own; `undefined` goes back to what `createLockstep` was given.
   * @throws LS_CONFIG_INVALID for what is no setting; database errors, and then nothing has changed
   */
  async set(operation: string, ...given: [value: Mode | RolloutSetting | undefined]): Promise<void> {
    assertSettable(operation)
    assertIsGiven(operation, given)
    const [value] = given
    const { own, schema } = this.#host
    const setting = value === undefined ? undefined : toRolloutSetting(value, `the rollout of "${operation}"`)
    await own.query(
      setting === undefined ? deleteRollout(schema, operation) : writeRollout(schema, operation, setting),
    )
    this.#changes++
    const stored = new Map(this.#stored)
    if (setting === undefined) stored.delete(operation)
    else stored.set(operation, setting)
    this.#stored = stored
  }

  #settingOf(operation: string): Required<RolloutSetting> {
    return (
      this.#stored.get(operation) ?? this.#configured.get(operation) ?? this.#stored.get('*') ?? this.#default
    )
  }

  async #ask(provider: RolloutProvider, operation: string, user: UserContext, mode: Mode): Promise<Mode> {
    const { clock, logger } = this.#host
    const context = {
      targetingKey: user.id,
      operation,
      ...(user.tenant === undefined ? {} : { tenant: user.tenant }),
    }
    try {
      const flag = `lockstep.mode.${operation}`
      const answer = provider.resolveStringEvaluation(flag, mode, context, this.#providerLogger)
      // The operation has been accepted, and nothing can end it before it has begun.
      const { value } = await inTime(
        clock,
        longestAnswerMs,
        answer,
        () => new Error(`no answer within ${longestAnswerMs} ms`),
      )
      if (!isMode(value)) throw new Error(`"${value}" is no rollout mode`)
      this.#providerFailed = false
      return value
    } catch (error) {
      // Log once for each outage: the provider is asked for every call.
      if (!this.#providerFailed)
        logger.warn(
          { operation, error: messageOf(error) },
          'the rollout provider has no answer; the setting counts',
        )
      this.#providerFailed = true
      return mode
    }
  }

  async #read(): Promise<void> {
    const { own, schema } = this.#host
    const changes = this.#changes
    const { rows } = await own.query<RolloutRow>(readRollouts(schema))
    if (changes !== this.#changes) return
    this.#stored = new Map(rows.map(({ operation, ...setting }) => [operation, setting]))
  }
}

/** Tells a mode that was forgotten from a setting that is to be taken back. @throws LS_CONFIG_INVALID */
function assertIsGiven(operation: string, given: readonly unknown[]): void {
  if (given.length > 0) return
  throw new LockstepError('LS_CONFIG_INVALID', {
    message:
      `rollout.set needs a mode. Write lockstep.rollout.set(${JSON.stringify(operation)}, "enforce"), or give ` +
      'undefined to go back to what createLockstep was given.',
  })
}

/** @throws LS_CONFIG_INVALID */
function assertSettable(operation: unknown): void {
  if (typeof operation !== 'string' || operation === '' || operation.length > longestName) {
    throw new LockstepError('LS_CONFIG_INVALID', {
      message: `Name an operation, or "*" for all; at most ${longestName} characters. Given: ${describeGiven(operation)}.`,
    })
  }
  if (isOwnOperation(operation)) {
    throw new LockstepError('LS_CONFIG_INVALID', {
      message: `"${operation}" is one of Lockstep's own operations, which always run in the mode "enforce".`,
    })
  }
}

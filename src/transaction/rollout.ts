import {
  enforced,
  isMode,
  isOwnOperation,
  LockstepError,
  messageOf,
  modeOfUser,
  toRolloutSetting,
  type Clock,
  type Logger,
  type Mode,
  type Queryable,
  type RolloutSetting,
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

/** What `createLockstep` takes as `rollout`. */
export interface RolloutOptions {
  /** For operations without a setting of their own. Default `enforce`. */
  readonly default?: Mode | RolloutSetting
  readonly operations?: Readonly<Record<string, Mode | RolloutSetting>>
  /** Asked first, for every call; what it does not answer with a mode is decided by the settings. */
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
  #cancelTimer: (() => void) | undefined
  #polling: Promise<void> = Promise.resolve()
  #closed = false
  #providerFailed = false
  readonly #providerLogger: RolloutProviderLogger

  /** @throws LS_CONFIG_INVALID */
  constructor(host: RolloutHost, options: RolloutOptions = {}) {
    this.#host = host
    this.#provider = options.provider
    this.#default = toRolloutSetting(options.default ?? enforced)
    for (const [name, setting] of Object.entries(options.operations ?? {})) {
      assertSettable(name)
      this.#configured.set(name, toRolloutSetting(setting))
    }
    const { logger } = host
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
    this.#schedule()
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#cancelTimer?.()
    await this.#polling
  }

  /** A promise only where a provider has to be asked. */
  modeOf(operation: string, user: UserContext): Mode | Promise<Mode> {
    if (isOwnOperation(operation)) return 'enforce'
    const mode = modeOfUser(this.#settingOf(operation), operation, user.id)
    return this.#provider === undefined ? mode : this.#ask(this.#provider, operation, user, mode)
  }

  /** What the settings alone say, for who asks after the fact. */
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
  async set(operation: string, value: Mode | RolloutSetting | undefined): Promise<void> {
    assertSettable(operation)
    const { own, schema } = this.#host
    const setting = value === undefined ? undefined : toRolloutSetting(value)
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
    const { logger } = this.#host
    const context = {
      targetingKey: user.id,
      operation,
      ...(user.tenant === undefined ? {} : { tenant: user.tenant }),
    }
    try {
      const flag = `lockstep.mode.${operation}`
      const answer = provider.resolveStringEvaluation(flag, mode, context, this.#providerLogger)
      const { value } = await this.#inTime(answer)
      if (!isMode(value)) throw new Error(`"${value}" is no rollout mode`)
      this.#providerFailed = false
      return value
    } catch (error) {
      // Once for each outage: it is asked for every call.
      if (!this.#providerFailed)
        logger.warn(
          { operation, error: messageOf(error) },
          'the rollout provider has no answer; the setting counts',
        )
      this.#providerFailed = true
      return mode
    }
  }

  /** The operation has been accepted, and nothing can end it before it has begun. */
  async #inTime<T>(answer: Promise<T>): Promise<T> {
    let cancel = (): void => {}
    const late = new Promise<never>((_, reject) => {
      const error = new Error(`no answer within ${longestAnswerMs} ms`)
      cancel = this.#host.clock.after(longestAnswerMs, () => reject(error))
    })
    try {
      return await Promise.race([answer, late])
    } finally {
      cancel()
    }
  }

  #schedule(): void {
    if (this.#closed) return
    this.#cancelTimer = this.#host.clock.after(pollMs, () => {
      this.#polling = this.#read()
        .catch((error: unknown) => {
          this.#host.logger.warn({ error: messageOf(error) }, 'the rollout settings were not read')
        })
        .finally(() => this.#schedule())
    })
  }

  async #read(): Promise<void> {
    const { own, schema } = this.#host
    const changes = this.#changes
    const { rows } = await own.query<RolloutRow>(readRollouts(schema))
    if (changes !== this.#changes) return
    this.#stored = new Map(rows.map(({ operation, ...setting }) => [operation, setting]))
  }
}

/** @throws LS_CONFIG_INVALID */
function assertSettable(operation: unknown): void {
  if (typeof operation !== 'string' || operation === '' || operation.length > longestName) {
    throw new LockstepError('LS_CONFIG_INVALID', {
      message: `Name an operation, or "*" for all; at most ${longestName} characters.`,
    })
  }
  if (isOwnOperation(operation)) {
    throw new LockstepError('LS_CONFIG_INVALID', {
      message: `"${operation}" is one of Lockstep's own operations, which always run in the mode "enforce".`,
    })
  }
}

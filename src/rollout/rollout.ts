import {
  describeGiven,
  enforced,
  isOwnOperation,
  LockstepError,
  messageOf,
  modeOfUser,
  Repeat,
  toRolloutSetting,
  type Clock,
  type Logger,
  type Mode,
  type Queryable,
  type RolloutSetting,
  type UserContext,
} from '../core/index.ts'
import { deleteRollout, readRollouts, writeRollout, type RolloutRow } from '../postgres/index.ts'
import { ProviderQuestions } from './provider.ts'
import type { RolloutOptions } from './rollout-options.ts'

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

/**
 * Knows in which mode an operation runs. Lockstep's own operations always run in `enforce`: other nodes hear of a
 * revocation through the log, which the other modes do not write. What is changed on one node is seen by the others
 * within some seconds.
 */
export class Rollout {
  readonly #host: RolloutHost
  readonly #provider: ProviderQuestions | undefined
  readonly #default: Required<RolloutSetting>
  readonly #configured = new Map<string, Required<RolloutSetting>>()
  #stored: ReadonlyMap<string, Required<RolloutSetting>> = new Map()
  /** Counts the changes made here, so that an answer that was read before one of them does not undo it. */
  #changes = 0
  readonly #polls: Repeat

  /** @throws LS_CONFIG_INVALID */
  constructor(host: RolloutHost, options: RolloutOptions = {}) {
    this.#host = host
    const { provider } = options
    this.#provider = provider && new ProviderQuestions(provider, host.clock, host.logger)
    this.#default = toRolloutSetting(options.mode ?? enforced, 'rollout.mode')
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
    return this.#provider === undefined ? mode : this.#provider.ask(operation, user, mode)
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

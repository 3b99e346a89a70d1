import {
  inTime,
  isMode,
  messageOf,
  type Clock,
  type Logger,
  type Mode,
  type UserContext,
} from '../core/index.ts'
import type { RolloutProvider, RolloutProviderLogger } from './rollout-options.ts'

const longestAnswerMs = 1_000

/** Asks a provider of feature flags for the mode of a call. The setting counts where it has no answer in time. */
export class ProviderQuestions {
  readonly #provider: RolloutProvider
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #providerLogger: RolloutProviderLogger
  #hasFailed = false

  constructor(provider: RolloutProvider, clock: Clock, logger: Logger) {
    this.#provider = provider
    this.#clock = clock
    this.#logger = logger
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

  /** @param mode the mode that the settings name */
  async ask(operation: string, user: UserContext, mode: Mode): Promise<Mode> {
    const logger = this.#logger
    const context = {
      targetingKey: user.id,
      operation,
      ...(user.tenant === undefined ? {} : { tenant: user.tenant }),
    }
    try {
      const flag = `lockstep.mode.${operation}`
      const answer = this.#provider.resolveStringEvaluation(flag, mode, context, this.#providerLogger)
      // The operation has been accepted, and nothing can end it before it has begun.
      const { value } = await inTime(
        this.#clock,
        longestAnswerMs,
        answer,
        () => new Error(`no answer within ${longestAnswerMs} ms`),
      )
      if (!isMode(value)) throw new Error(`"${value}" is no rollout mode`)
      this.#hasFailed = false
      return value
    } catch (error) {
      // Log once for each outage: the provider is asked for every call.
      if (!this.#hasFailed)
        logger.warn(
          { operation, error: messageOf(error) },
          'the rollout provider has no answer; the setting counts',
        )
      this.#hasFailed = true
      return mode
    }
  }
}

import { commonName, parsePattern } from './channel-pattern.ts'
import { isChannelName, type ChannelDefinition } from './channel.ts'
import { errorCatalogue, type ErrorCode } from './error-catalogue.ts'
import { isLockstepError, LockstepError } from './errors.ts'
import { userChannel, type UserContext } from './ids.ts'
import type { Logger } from './logger.ts'
import { messageOf } from './thrown.ts'

/** Asks a check of the application's, with its database at hand. */
export interface Checks {
  check<T>(user: UserContext, ask: (db: unknown) => T | Promise<T>): Promise<T>
}

export interface ChannelRegistryOptions {
  readonly checks: Checks
  readonly logger: Logger
  readonly databaseCode: (error: unknown) => ErrorCode | undefined
}

/** The declared channels: finds a name's family, and asks it who may listen. */
export class ChannelRegistry {
  readonly #definitions: readonly ChannelDefinition[]
  readonly #checks: Checks
  readonly #logger: Logger
  readonly #databaseCode: (error: unknown) => ErrorCode | undefined

  /**
   * @param options.databaseCode the catalogue's code for an error that came from the database
   * @throws LS_CONFIG_INVALID when two families can name the same channel
   */
  constructor(definitions: readonly ChannelDefinition[], options: ChannelRegistryOptions) {
    assertDisjoint(definitions)
    this.#definitions = definitions
    this.#checks = options.checks
    this.#logger = options.logger
    this.#databaseCode = options.databaseCode
  }

  /**
   * Resolves when the user may listen to the channel.
   * @throws LS_CHANNEL_NAME_INVALID, LS_CHANNEL_UNKNOWN, LS_CHANNEL_FORBIDDEN; retryable errors of the check
   */
  async authorize(user: UserContext, channel: string): Promise<void> {
    if (!isChannelName(channel)) throw new LockstepError('LS_CHANNEL_NAME_INVALID')
    if (channel.startsWith('user:')) {
      if (channel === userChannel(user.id)) return
      throw new LockstepError('LS_CHANNEL_FORBIDDEN')
    }
    for (const definition of this.#definitions) {
      const params = definition.match(channel)
      if (params === undefined) continue
      // A family that names its tenant belongs to that tenant, whatever its own check would say.
      if (Object.hasOwn(params, 'tenant') && params['tenant'] !== user.tenant) {
        throw new LockstepError('LS_CHANNEL_FORBIDDEN')
      }
      if (await this.#ask(definition, user, channel, params)) return
      throw new LockstepError('LS_CHANNEL_FORBIDDEN')
    }
    throw new LockstepError('LS_CHANNEL_UNKNOWN')
  }

  async #ask(
    definition: ChannelDefinition,
    user: UserContext,
    channel: string,
    params: Readonly<Record<string, string>>,
  ): Promise<boolean> {
    try {
      // The check was written for this very database and these params; here their types are erased.
      const questionWith = (db: unknown): never => ({ user, channel, params, db }) as never
      // Only a plain yes is one, whatever a check without types may return.
      const answer: unknown = await this.#checks.check(user, (db) =>
        definition.canSubscribe(questionWith(db)),
      )
      return answer === true
    } catch (error) {
      this.#logger.error({ error, channel, user }, `canSubscribe failed: ${messageOf(error)}`)
      if (isLockstepError(error) && error.retryable) throw error
      // A check that cannot answer is not a yes; the client may ask again.
      throw new LockstepError(this.#retryableCode(error) ?? 'LS_CHANNEL_CHECK_FAILED', { cause: error })
    }
  }

  /** The code of a database that is away or busy. Whatever else was thrown is the check's own fault. */
  #retryableCode(error: unknown): ErrorCode | undefined {
    const code = this.#databaseCode(error)
    return code !== undefined && errorCatalogue[code].retryable ? code : undefined
  }
}

/** Else whoever asks for a name that two families have would be checked by the first of them only. */
function assertDisjoint(definitions: readonly ChannelDefinition[]): void {
  for (const [index, one] of definitions.entries()) {
    for (const other of definitions.slice(index + 1)) {
      const name = commonName(parsePattern(one.pattern), parsePattern(other.pattern))
      if (name === undefined) continue
      throw new LockstepError('LS_CONFIG_INVALID', {
        message: `The channels "${one.pattern}" and "${other.pattern}" both have the name "${name}", so nobody could say whose canSubscribe decides. Let each begin with a word of its own.`,
      })
    }
  }
}

import { mutationPoint } from '../protocol/mutation-point.ts'
import type { AnyFamily } from './channel.ts'
import { isChannelName } from './channel-name.ts'
import { parsePattern } from './channel-pattern.ts'
import { errorCatalogue, type ErrorCode } from './error-catalogue.ts'
import { LockstepError, lockstepErrorIn } from './errors.ts'
import { describeGiven } from './given.ts'
import { isOwnChannel, userChannel, type UserContext } from './ids.ts'
import type { Logger } from './logger.ts'
import { listNames, nearestName } from './nearest.ts'
import { commonName } from './pattern-overlap.ts'
import { messageOf } from './thrown.ts'

/** Codes that count as a no when a check throws them. */
const refusals: ReadonlySet<ErrorCode> = new Set(['LS_FORBIDDEN', 'LS_CHANNEL_FORBIDDEN'])

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
  readonly #families: AnyFamily[] = []
  readonly #checks: Checks
  readonly #logger: Logger
  readonly #databaseCode: (error: unknown) => ErrorCode | undefined

  /** @param options.databaseCode the catalogue's code for an error that came from the database */
  constructor(options: ChannelRegistryOptions) {
    this.#checks = options.checks
    this.#logger = options.logger
    this.#databaseCode = options.databaseCode
  }

  /** @throws LS_CONFIG_INVALID when another family can name the same channel */
  declare(family: AnyFamily): void {
    if (!mutationPoint('families that share names accepted')) assertDisjoint(this.#families, family)
    this.#families.push(family)
  }

  /**
   * Resolves when the user may listen to the channel.
   * @throws LS_CHANNEL_NAME_INVALID, LS_CHANNEL_UNKNOWN, LS_CHANNEL_FORBIDDEN; retryable errors of the check
   */
  async authorize(user: UserContext, channel: string): Promise<void> {
    if (!isChannelName(channel)) throw new LockstepError('LS_CHANNEL_NAME_INVALID')
    if (isOwnChannel(channel)) {
      if (channel === userChannel(user.id)) return
      throw new LockstepError('LS_CHANNEL_FORBIDDEN')
    }
    for (const family of this.#families) {
      const params = family.match(channel)
      if (params === undefined || family.internal) continue
      // A family that names its tenant belongs to that tenant, whatever its own check would say.
      if (Object.hasOwn(params, 'tenant') && params['tenant'] !== user.tenant) {
        throw new LockstepError('LS_CHANNEL_FORBIDDEN')
      }
      if (await this.#ask(family, user, channel, params)) return
      throw new LockstepError('LS_CHANNEL_FORBIDDEN')
    }
    throw new LockstepError('LS_CHANNEL_UNKNOWN')
  }

  /** Whether drafts may be shown on the channel. */
  hasDrafts(channel: string): boolean {
    return this.#families.some(
      (family) => Object.keys(family.drafts).length > 0 && family.match(channel) !== undefined,
    )
  }

  /**
   * Refuses a name that no subscription can have: a revocation of it would take nothing from anybody.
   * @throws LS_CHANNEL_NAME_INVALID, LS_CHANNEL_UNKNOWN; LS_CONFIG_INVALID for a user's own channel
   */
  assertRevocable(channel: string): void {
    if (!isChannelName(channel)) {
      throw new LockstepError('LS_CHANNEL_NAME_INVALID', {
        message:
          `"channel" of revoke is the name of a channel, as channel.name has it, and is ${describeGiven(channel)}. ` +
          'Leave it out to take everything from the user.',
      })
    }
    if (isOwnChannel(channel)) {
      throw new LockstepError('LS_CONFIG_INVALID', {
        message:
          `${JSON.stringify(channel)} is a user's own channel, which a connection has as long as it lives. ` +
          'Leave "channel" out to close the connections of the user.',
      })
    }
    const families = this.#families.filter(({ internal }) => !internal)
    if (families.some((family) => family.match(channel) !== undefined)) return
    throw new LockstepError('LS_CHANNEL_UNKNOWN', { message: unknownFamily(channel, families) })
  }

  async #ask(
    family: AnyFamily,
    user: UserContext,
    channel: string,
    params: Readonly<Record<string, string>>,
  ): Promise<boolean> {
    try {
      // The check was written for this very database and these params; here their types are erased.
      const questionWith = (db: unknown): never => ({ user, channel, params, db }) as never
      // Accept `true` alone, whatever a check without types may return.
      const answer: unknown = await this.#checks.check(user, (db) => family.canSubscribe(questionWith(db)))
      if (mutationPoint('a check that answers anything but no lets listen')) return Boolean(answer)
      return answer === true
    } catch (error) {
      // ORMs wrap what they get, and a refusal is one all the same.
      const known = lockstepErrorIn(error)
      if (known !== undefined && refusals.has(known.code)) return false
      this.#logger.error({ error, channel, user }, `canSubscribe failed: ${messageOf(error)}`)
      if (known?.retryable === true) throw known
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

/** Refuses families that share a name: only the first of them would check who may subscribe to it. */
function assertDisjoint(families: readonly AnyFamily[], added: AnyFamily): void {
  for (const one of families) {
    const name = commonName(parsePattern(one.pattern), parsePattern(added.pattern))
    if (name === undefined) continue
    throw new LockstepError('LS_CONFIG_INVALID', {
      message: `The channels "${one.pattern}" and "${added.pattern}" both have the name "${name}", so nobody could say whose canSubscribe decides. Let each begin with a word of its own.`,
    })
  }
}

function unknownFamily(channel: string, families: readonly AnyFamily[]): string {
  const patterns = families.map(({ pattern }) => pattern)
  if (patterns.length === 0)
    return `"${channel}" is of no family: none is declared. Write lockstep.channel(pattern, { events, canSubscribe }).`
  const heads = new Map(patterns.map((pattern) => [headOf(pattern), pattern]))
  const meant = heads.get(nearestName(headOf(channel), heads.keys()) ?? '')
  return `"${channel}" is of no family that is declared.${meant === undefined ? '' : ` Did you mean "${meant}"?`} Declared: ${listNames(patterns)}.`
}

/** The word that a name or a pattern begins with. */
function headOf(text: string): string {
  return /^[^:{/.]*/.exec(text)?.[0] ?? ''
}

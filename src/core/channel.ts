import { limits } from '../protocol/index.ts'
import { fillPattern, nameBehind, parsePattern, readPattern, type ChannelPattern } from './channel-pattern.ts'
import { LockstepError } from './errors.ts'
import { validateSync, type OutputOf, type Schema } from './schema.ts'
import { userChannel, type UserContext } from './ids.ts'
import type { SqlClient } from './database.ts'

/** Event types of a channel, each with the schema of its data. */
export type EventSchemas = Readonly<Record<string, Schema>>

/** The names between braces of a pattern: `ParamsOf<'conversation:{id}'>` is `{ id: string }`. */
export type ParamsOf<Pattern extends string> = Pattern extends `${string}{${infer Name}}${infer Rest}`
  ? { readonly [K in Name]: string } & ParamsOf<Rest>
  : unknown

/** The names a pattern matches, as a template literal type: `conversation:${string}`. */
export type NameOf<Pattern extends string> = Pattern extends `${infer Head}{${string}}${infer Rest}`
  ? `${Head}${string}${NameOf<Rest>}`
  : Pattern

export interface SubscribeQuestion<Params, Db> {
  readonly user: UserContext
  readonly params: Params
  readonly channel: string
  readonly db: Db
}

export interface ChannelOptions<Pattern extends string, Events extends EventSchemas, Db> {
  readonly events: Events
  /** Asked at every subscribe and every resume. A throw counts as no, and is logged. */
  canSubscribe(question: SubscribeQuestion<ParamsOf<Pattern>, Db>): boolean | Promise<boolean>
}

/** One concrete channel, ready to be emitted to. */
export interface Channel<Events extends EventSchemas = EventSchemas> {
  readonly name: string
  readonly definition: ChannelDefinition<string, Events>
}

/** A family of channels. Call it with the params to get one channel. */
export interface ChannelDefinition<
  Pattern extends string = string,
  Events extends EventSchemas = EventSchemas,
> {
  (params: ParamsOf<Pattern>): Channel<Events>
  readonly kind: 'channel'
  readonly pattern: Pattern
  readonly events: Events
  /** The params when the name belongs to this family, else undefined. */
  match(name: string): Readonly<Record<string, string>> | undefined
  // The database type is the application's own; the gateway hands it through without looking.
  canSubscribe(question: SubscribeQuestion<never, never>): boolean | Promise<boolean>
}

export type EventDataOf<Events extends EventSchemas, Type extends keyof Events> = OutputOf<Events[Type]>

// What a name may hold: ASCII without wildcards, blanks or quotes, so that it means the same to Postgres, Redis
// and NATS, and no two names differ only by Unicode normalisation.
const namePattern = /^(?:[A-Za-z0-9._~@|=+:/-]|%[0-9A-F]{2})+$/

export function isChannelName(value: unknown): value is string {
  return (
    typeof value === 'string' &&
    value.length <= limits.maxChannelBytes &&
    namePattern.test(value) &&
    !value.includes('..')
  )
}

/**
 * Declares a family of channels, such as `conversation:{id}`.
 * @throws LS_CONFIG_INVALID for a pattern that is empty, malformed, ambiguous, or in the reserved `user:` family
 */
export function defineChannel<
  const Pattern extends string,
  const Events extends EventSchemas,
  Db = SqlClient,
>(pattern: Pattern, options: ChannelOptions<Pattern, Events, Db>): ChannelDefinition<Pattern, Events> {
  const parsed = parsePattern(pattern)
  assertNotOfUsers(parsed)
  const toChannel = (params: ParamsOf<Pattern>): Channel<Events> => {
    const name: string = fillPattern(parsed, params as Readonly<Record<string, unknown>>)
    if (!isChannelName(name)) {
      throw new LockstepError('LS_CHANNEL_NAME_INVALID', {
        message: `${JSON.stringify(name)} is no channel name: at most ${limits.maxChannelBytes} characters, and no two dots in a row.`,
        details: { pattern },
      })
    }
    return { name, definition }
  }
  const match = (name: string): Readonly<Record<string, string>> | undefined =>
    isChannelName(name) ? readPattern(parsed, name) : undefined
  const definition: ChannelDefinition<Pattern, Events> = Object.assign(toChannel, {
    kind: 'channel' as const,
    pattern,
    events: options.events,
    match,
    canSubscribe: options.canSubscribe.bind(options) as never,
  })
  return definition
}

function assertNotOfUsers(pattern: ChannelPattern): void {
  const example = nameBehind(userChannel(''), pattern)
  if (example === undefined) return
  throw new LockstepError('LS_CONFIG_INVALID', {
    message: `The channel pattern "${pattern.text}" could name "${example}", but channels that begin with "user:" belong to Lockstep: each is its user's own, for notices. Begin with another word, such as "account:{id}".`,
  })
}

/**
 * The event's data as its schema gives it back.
 * @throws LS_EVENT_UNKNOWN, LS_EVENT_INVALID
 */
export function validateEvent(channel: Channel, type: string, data: unknown): unknown {
  const schema = Object.hasOwn(channel.definition.events, type) ? channel.definition.events[type] : undefined
  if (schema === undefined) {
    throw new LockstepError('LS_EVENT_UNKNOWN', {
      message: `Channel ${channel.definition.pattern} declares no event "${type}". Add it to its events.`,
    })
  }
  return validateSync(schema, data, 'LS_EVENT_INVALID', `event "${type}" on ${channel.name}`)
}

/** Last offset of an operation in each channel. A map: objects with names of channels as keys would each have a shape of their own. */
export type Offsets = ReadonlyMap<string, number>

export const noOffsets: Offsets = new Map()

/** Of an object as Postgres gives it. */
export function toOffsets(json: Readonly<Record<string, number>> | null): Offsets {
  return json === null ? noOffsets : new Map(Object.entries(json))
}

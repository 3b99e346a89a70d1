import { limits } from '../protocol/index.ts'
import { isChannelName } from './channel-name.ts'
import { fillPattern, parsePattern, readPattern, type ChannelPattern } from './channel-pattern.ts'
import { LockstepError } from './errors.ts'
import { userChannel, type UserContext } from './ids.ts'
import { rememberPattern } from './known-patterns.ts'
import { aFlag, aFunction, aSchema, required, valuesOf } from './expectations.ts'
import { assertOptions, type Shape } from './option-shape.ts'
import { nameBehind } from './pattern-overlap.ts'
import type { InputOf, Schema } from './schema.ts'
import { peek } from './thrown.ts'

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

export interface SubscribeQuestion<Params, Db, User extends UserContext = UserContext> {
  readonly user: User
  readonly params: Params
  readonly channel: string
  readonly db: Db
}

export interface ChannelOptions<
  Pattern extends string,
  Events extends EventSchemas,
  Db,
  User extends UserContext = UserContext,
  Drafts extends EventSchemas = EventSchemas,
> {
  /** Event types that the family carries, each with the schema of its data. Default: none. */
  readonly events?: Events
  /** Drafts that are shown before their commit, each with the schema of one chunk. Text appends; other chunks are a list. Default: none. */
  readonly drafts?: Drafts
  readonly internal?: false
  /** Decides at every subscribe and every resume. Only `true` is a yes; an error counts as no, and is logged. */
  canSubscribe(question: SubscribeQuestion<ParamsOf<Pattern>, Db, User>): boolean | Promise<boolean>
}

/** Options of a family for the server alone. Clients are answered as for a channel that is not declared. */
export interface InternalChannelOptions<Events extends EventSchemas> {
  readonly events?: Events
  readonly internal: true
}

/** A concrete channel, ready to be emitted to. */
export interface Channel<
  Events extends EventSchemas = EventSchemas,
  Drafts extends EventSchemas = EventSchemas,
> {
  readonly name: string
  readonly definition: AnyFamily<Events, Drafts>
}

/** Any family of channels, as the rooms that look for one see it. */
export interface AnyFamily<
  Events extends EventSchemas = EventSchemas,
  Drafts extends EventSchemas = EventSchemas,
> {
  readonly kind: 'channel'
  readonly pattern: string
  readonly events: Events
  readonly drafts: Drafts
  /** True where clients may not hear it, and are answered as for a channel that is not declared. */
  readonly internal: boolean
  /** The params when the name belongs to this family, else undefined. */
  match(name: string): Readonly<Record<string, string>> | undefined
  // The database type is the application's own; the gateway hands it through without looking.
  canSubscribe(question: SubscribeQuestion<never, never, never>): boolean | Promise<boolean>
}

/** A family of channels. Call it with the params to get one channel. */
export interface ChannelFamily<
  Pattern extends string = string,
  Events extends EventSchemas = EventSchemas,
  Internal extends boolean = false,
  Drafts extends EventSchemas = EventSchemas,
> extends AnyFamily<Events, Drafts> {
  (...params: unknown extends ParamsOf<Pattern> ? [] : [params: ParamsOf<Pattern>]): Channel<Events, Drafts>
  readonly pattern: Pattern
  readonly internal: Internal
}

/** Data as an application hands it over, before its schema has read it. */
export type EventDataOf<Events extends EventSchemas, Type extends keyof Events> = InputOf<Events[Type]>

/** Options as code without types may give them. */
interface GivenOptions {
  readonly events?: EventSchemas
  readonly drafts?: EventSchemas
  readonly internal?: boolean
  canSubscribe?(question: SubscribeQuestion<never, never, never>): boolean | Promise<boolean>
}

const schemas = valuesOf(aSchema)

const noEvents = {}
/** Events of a family that declares none. */
export type NoEvents = typeof noEvents

const optionShape: Shape<GivenOptions> = {
  events: schemas,
  drafts: schemas,
  internal: aFlag,
  canSubscribe: required(aFunction),
}

const internalShape: Shape<GivenOptions> = {
  events: schemas,
  drafts: {
    expected: 'left out, since no client may hear an internal channel',
    fits: () => false,
    advice: () => 'Leave out "internal" to show drafts.',
  },
  internal: aFlag,
  canSubscribe: {
    expected: 'left out, since no client may hear an internal channel',
    fits: () => false,
    advice: () => 'Leave out "internal" to let canSubscribe decide.',
  },
}

/**
 * Makes a family of channels, such as `conversation:{id}`.
 * @throws LS_CONFIG_INVALID for a pattern that is empty, malformed, ambiguous, or in the reserved `user:` family, and for
 * options that are unknown or cannot be
 */
export function defineChannel<
  const Pattern extends string,
  const Events extends EventSchemas,
  const Internal extends boolean,
  const Drafts extends EventSchemas = NoEvents,
>(pattern: Pattern, options: GivenOptions): ChannelFamily<Pattern, Events, Internal, Drafts> {
  const parsed = parsePattern(pattern)
  assertNotOfUsers(parsed)
  assertOptions(
    `channel "${pattern}"`,
    options,
    peek(options, 'internal') === true ? internalShape : optionShape,
    `lockstep.channel("${pattern}", { events, canSubscribe })`,
  )
  const { events = noEvents, drafts = noEvents, internal = false } = options
  assertEventNames(pattern, events)
  const toChannel = (params: object = {}): Channel<Events, Drafts> => {
    const name: string = fillPattern(parsed, params as Readonly<Record<string, unknown>>)
    if (!isChannelName(name)) {
      throw new LockstepError('LS_CHANNEL_NAME_INVALID', {
        message: `${JSON.stringify(name)} is no channel name: at most ${limits.maxChannelBytes} characters, and no two dots in a row.`,
        details: { pattern },
      })
    }
    return { name, definition: family }
  }
  const match = (name: string): Readonly<Record<string, string>> | undefined =>
    isChannelName(name) ? readPattern(parsed, name) : undefined
  const family = Object.assign(toChannel, {
    kind: 'channel' as const,
    pattern,
    events,
    drafts,
    internal,
    match,
    canSubscribe: options.canSubscribe?.bind(options) ?? (() => false),
    // The types of events and params exist at compile time only.
  }) as unknown as ChannelFamily<Pattern, Events, Internal, Drafts>
  rememberPattern(parsed)
  return family
}

function assertNotOfUsers(pattern: ChannelPattern): void {
  const example = nameBehind(userChannel(''), pattern)
  if (example === undefined) return
  throw new LockstepError('LS_CONFIG_INVALID', {
    message: `The channel pattern "${pattern.text}" could name "${example}", but channels that begin with "user:" belong to Lockstep: each is its user's own, for notices. Begin with another word, such as "account:{id}".`,
  })
}

/** Beginnings of the names of Lockstep's own events, which stand among those of the application. */
const reservedBeginnings = ['run.', 'draft.', 'lockstep.']

function assertEventNames(pattern: string, events: EventSchemas): void {
  const taken = Object.keys(events).find((name) => reservedBeginnings.some((begin) => name.startsWith(begin)))
  if (taken === undefined) return
  throw new LockstepError('LS_CONFIG_INVALID', {
    message: `Channel "${pattern}" declares an event "${taken}". Names that begin with run., draft. or lockstep. belong to Lockstep.`,
  })
}

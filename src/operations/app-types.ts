import type { AppShape } from '../protocol/index.ts'
import type { EventSchemas, Jsonify, NameOf, NoEvents, OutputOf } from '../core/index.ts'

/** Parts of an application that its clients see. */
type Part = { readonly kind: 'channel' | 'operation' | 'query' | 'task'; readonly internal: false }

/** Finds the parts of a tuple of parts, of a module (`typeof import('./chat.ts')`), and of a tuple of modules. */
type PartsOf<T> = T extends Part
  ? T
  : T extends readonly (infer Item)[]
    ? PartsOf<Item>
    : T extends object
      ? Extract<T[keyof T], Part>
      : never

/** Calls of one kind by name, each with the types that it carries. */
type CallsOf<P, Kind extends string> = {
  readonly [Q in Extract<P, { readonly kind: Kind; readonly name: string }> as Q['name']]: Q extends {
    readonly types?: infer Types
  }
    ? NonNullable<Types>
    : never
}

type EventsOf<Events extends EventSchemas> = {
  readonly [Type in keyof Events & string]: Jsonify<OutputOf<Events[Type]>>
}

/** Types of one chunk, by the draft's name. */
type DraftsOf<Channel> = Channel extends { readonly drafts: infer Drafts extends EventSchemas }
  ? EventsOf<Drafts>
  : NoEvents

type AnyChannel = { readonly kind: 'channel'; readonly pattern: string; readonly events: EventSchemas }

type ChannelsOf<P> = {
  readonly [C in Extract<P, AnyChannel> as NameOf<C['pattern']>]: {
    readonly events: EventsOf<C['events']>
    readonly drafts: DraftsOf<C>
  }
}

/** Object type, written out so that an editor shows names rather than how they were found. */
type Flat<T> = T extends infer Known ? { readonly [K in keyof Known]: Known[K] } : never

/**
 * The application as its clients see it, from the modules that declare it:
 * `export type App = AppOf<typeof import('./chat.ts')>`. Takes a tuple of modules too, and a tuple of parts:
 * `AppOf<[typeof conversation, typeof sendMessage]>`. What is `internal` is left out.
 */
export type AppOf<Declared> = {
  readonly channels: Flat<ChannelsOf<PartsOf<Declared>>>
  readonly operations: Flat<CallsOf<PartsOf<Declared>, 'operation'>>
  readonly queries: Flat<CallsOf<PartsOf<Declared>, 'query'>>
  readonly tasks: Flat<CallsOf<PartsOf<Declared>, 'task'>>
} extends infer App extends AppShape
  ? App
  : never

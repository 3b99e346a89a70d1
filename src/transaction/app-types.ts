import type { AppShape } from '../protocol/index.ts'
import type { EventSchemas, NameOf, OutputOf } from '../core/index.ts'

/** Anything that carries its name and the types of a call: an `Operation` or a `Query`. */
interface Callable<Kind extends string> {
  readonly kind: Kind
  readonly name: string
  readonly types: { readonly input: unknown; readonly result: unknown }
}

type AnyChannel = {
  readonly kind: 'channel'
  readonly pattern: string
  readonly events: EventSchemas
}

type CallsOf<Part, Kind extends string> = {
  readonly [P in Extract<Part, Callable<Kind>> as P['name']]: P['types']
}

type EventsOf<Events extends EventSchemas> = {
  readonly [Type in keyof Events & string]: OutputOf<Events[Type]>
}

type ChannelsOf<Part> = {
  readonly [C in Extract<Part, AnyChannel> as NameOf<C['pattern']>]: EventsOf<C['events']>
}

/**
 * The application as its clients see it, from the parts it is made of:
 * `export type App = AppOf<[typeof conversation, typeof sendMessage]>`.
 */
export type AppOf<Parts extends readonly unknown[]> = {
  readonly channels: ChannelsOf<Parts[number]>
  readonly operations: CallsOf<Parts[number], 'operation'>
  readonly queries: CallsOf<Parts[number], 'query'>
} extends infer App extends AppShape
  ? App
  : never

import type { FeedEvent } from '../../feeds/index.ts'

/**
 * A wire format of events: what a feed hands over becomes bytes here. Feeds know no format; the form of an event is made once
 * for all who are sent it, and stays with the event under the codec's name.
 */
export interface EventCodec<Form> {
  readonly name: string
  encode(event: FeedEvent): Form
}

/** The form of an event in a codec's format. */
export function formOf<Form>(codec: EventCodec<Form>, event: FeedEvent): Form {
  const forms = (event.forms ??= {}) as Partial<Record<string, Form>>
  return (forms[codec.name] ??= codec.encode(event))
}

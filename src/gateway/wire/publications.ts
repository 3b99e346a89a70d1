import type { FeedEvent, PublicationTags, TransientEvent } from '../../feeds/index.ts'
import { draftEvents, skippedTag } from '../../protocol/index.ts'
import { formOf, type EventCodec } from './codec.ts'

/** An event as JSON text, made once for all who are sent it. */
export interface Publication {
  /** Publication for recovery: `{"data":{"type":…,"data":…,"operationId":…,"at":…},"offset":…}`. */
  readonly publication: string
  /** The whole live frame: `{"push":{"channel":…,"pub":…}}`, the publication with `tags` if there are. */
  readonly push: string
}

/** The format of the Centrifuge client protocol, as JSON. */
export const jsonCodec: EventCodec<Publication> = { name: 'json', encode }

export function publicationOf(event: FeedEvent): Publication {
  return formOf(jsonCodec, event)
}

function encode(event: FeedEvent): Publication {
  const fields = `"data":${envelopeOf(event)},"offset":${event.offset}`
  const skipped = event.skipped === 0 ? undefined : { [skippedTag]: String(event.skipped) }
  const publication = publicationWith(fields, skipped)
  const live = event.tags === undefined ? publication : publicationWith(fields, { ...skipped, ...event.tags })
  return { publication, push: pushOf(event.channel, live) }
}

function publicationWith(fields: string, tags: PublicationTags | undefined): string {
  return tags === undefined ? `{${fields}}` : `{${fields},"tags":${JSON.stringify(tags)}}`
}

const transientTexts = new WeakMap<TransientEvent, string>()

/** The live frame of an event without an offset. */
export function transientPushOf(event: TransientEvent): string {
  const known = transientTexts.get(event)
  if (known !== undefined) return known
  // A draft has no envelope: its fields stand beside the type.
  const data =
    event.type === draftEvents.push
      ? `{"type":"draft",${event.data.slice(1)}`
      : envelopeOf(event, ',"committed":false')
  const push = pushOf(event.channel, `{"data":${data}}`)
  transientTexts.set(event, push)
  return push
}

function pushOf(channel: string, publication: string): string {
  return `{"push":{"channel":${JSON.stringify(channel)},"pub":${publication}}}`
}

/** @param more fields behind those of each envelope, as JSON text that begins with a comma */
function envelopeOf(event: Pick<FeedEvent, 'type' | 'data' | 'operationId' | 'at'>, more = ''): string {
  return (
    `{"type":${JSON.stringify(event.type)},"data":${event.data},` +
    `"operationId":"${event.operationId}","at":"${event.at.toISOString()}"${more}}`
  )
}

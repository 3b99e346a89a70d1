import { isChannelName, LockstepError } from '../../core/index.ts'
import type { PendingEvent } from '../../postgres/index.ts'
import { toEventJson } from './event-json.ts'

/** An event that a part contributes. Its type is one of Lockstep's own, such as `run.state`. */
export interface PartEvent {
  /** Name of any channel, also of a user's own. */
  readonly channel: string
  readonly type: string
  /** Value of any kind that JSON can hold. */
  readonly value: unknown
}

/** The event as the log takes it. @throws LS_CHANNEL_NAME_INVALID, LS_EVENT_TOO_LARGE, LS_EVENT_INVALID */
export function toPendingEvent({ channel, type, value }: PartEvent): PendingEvent {
  if (!isChannelName(channel)) throw new LockstepError('LS_CHANNEL_NAME_INVALID')
  return { channel, type, data: toEventJson(value, type) }
}

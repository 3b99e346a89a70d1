import { unknownChannelCode } from '../protocol/index.ts'
import type { ChannelEvent } from './client-channel.ts'
import { LockstepClientError } from './errors.ts'

export function refusedChannel(
  name: string,
  { code, reason, message }: LockstepClientError,
): LockstepClientError {
  const check = code === unknownChannelCode ? ' Is it declared on the server, and spelled so?' : ''
  const text = `channel "${name}" was refused: ${message}${check}`
  return new LockstepClientError({ code, reason, retryable: false, message: text })
}

/** Answer to a subscription. */
export interface Joined {
  /** Whether the events since the last one come with it. */
  readonly recovered: boolean
  /** Drafts and runs that are open, where the server tells of them. */
  readonly data: unknown
}

export function toEvent(
  channel: string,
  data: unknown,
  offset: number | undefined,
): ChannelEvent | undefined {
  const envelope = Object(data) as { [Key in 'type' | 'data' | 'operationId' | 'at']?: unknown }
  const { type, operationId = '', at = '' } = envelope
  if (typeof type !== 'string' || typeof operationId !== 'string' || typeof at !== 'string') return undefined
  const facts = { channel, type, data: envelope.data, operationId, at }
  // A committed event has a place in the channel's order; an event without one was sent before its commit.
  return offset === undefined ? { ...facts, committed: false, offset } : { ...facts, committed: true, offset }
}

import type { StreamPosition } from '../protocol/index.ts'
import type { FeedEvent, TransientEvent } from './feed-event.ts'

/** Receives a channel's events: offsets strictly increasing, without a hole, each once. */
export interface Subscriber {
  /** Called in one turn of the loop with events that follow each other. Must not throw. */
  deliver(events: readonly FeedEvent[]): void
  /** Delivers an event without an offset, which is in no log and may be dropped. Must not throw. */
  deliverTransient(event: TransientEvent): void
  /** Continuity cannot be kept (events are no longer there): the subscriber must start over. Called once, last. */
  reset(): void
}

export interface JoinRequest {
  /** Position that the subscriber already has; absent for one that starts fresh. An empty epoch means any. */
  readonly recoverFrom?: StreamPosition
  /** Limit of `missed`, in bytes of UTF-8. Default: as many as a channel's recent events. */
  readonly maxBytes?: number
}

export interface Joined {
  /**
   * `fresh`: nothing was asked for, live events start behind `position`.
   * `recovered`: `missed` holds all events after the asked offset up to `position`.
   * `unrecoverable`: another epoch, trimmed, too many, or too large; `position` is the top to start from after a reload.
   */
  readonly kind: 'fresh' | 'recovered' | 'unrecoverable'
  readonly position: StreamPosition
  readonly missed: readonly FeedEvent[]
  /** JSON text of the drafts and runs that are open at `position`; undefined where the channel has none at any time. */
  readonly ongoing?: string | undefined
  /** Continuity was lost before `start`: the answer must not promise it. */
  readonly wasReset: boolean
  /** Hands over what arrived since `position`, then delivers live. Call it once the reply is on its way. */
  start(): void
  /** No delivery after this returns. May be called at any time, also before `start`, and twice. */
  leave(): void
}

/** Source of a channel's events for the gateway. */
export interface EventSource {
  /** @throws LS_DATABASE_UNREACHABLE and other retryable errors of the log */
  join(channel: string, request: JoinRequest, subscriber: Subscriber): Promise<Joined>
}

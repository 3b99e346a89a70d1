import type { StreamPosition } from '../protocol/index.ts'

/** What the server adds to the live push of an event, besides the event itself. */
export type PublicationTags = Readonly<Record<string, string>>

/** A durable event as it goes to every subscriber of its channel: encoded once, not once per subscriber. */
export interface EncodedEvent {
  readonly channel: string
  readonly offset: number
  readonly type: string
  readonly operationId: string
  /** When the flush of its transaction ran, by the database's clock, in milliseconds since the epoch. */
  readonly flushedAt: number
  /** JSON text for recovery: `{"data":{"type":…,"data":…,"operationId":…,"at":…},"offset":…}`. */
  readonly publication: string
  /** JSON text of the whole live frame: `{"push":{"channel":…,"pub":…}}`, the publication with `tags` if there are. */
  readonly push: string
  readonly tags?: PublicationTags
  /** Such as `conversation:{id}`; there where the event carries the context of a trace. */
  readonly template?: string
  /** It came out of the log, where nothing is seen before its commit. */
  readonly wasRead?: true
  /** Set by the tap at the sockets when the first of them was handed it. */
  wasHanded: boolean
}

/** An event without an offset, as it goes to every subscriber of its channel. */
export interface TransientPush {
  readonly channel: string
  readonly type: string
  readonly operationId: string
  readonly userId?: string | undefined
  /** JSON text of the whole frame. */
  readonly push: string
  readonly stack?: string
}

/** Receives a channel's events: offsets strictly increasing, without a hole, each once. */
export interface Subscriber {
  /** Called in one turn of the loop with events that follow each other. Must not throw. */
  deliver(events: readonly EncodedEvent[]): void
  /** A push without an offset, which is in no log: may be dropped. Must not throw. */
  deliverTransient(push: TransientPush): void
  /** Continuity cannot be kept (events are no longer there): the subscriber must start over. Called once, last. */
  reset(): void
}

export interface JoinRequest {
  /** What the subscriber already has; absent for one that starts fresh. An empty epoch means any. */
  readonly recoverFrom?: StreamPosition
}

export interface Joined {
  /**
   * `fresh`: nothing was asked for, live events start behind `position`.
   * `recovered`: `missed` holds all events after the asked offset up to `position`.
   * `unrecoverable`: another epoch, trimmed or too many; `position` is the top to start from after a reload.
   */
  readonly kind: 'fresh' | 'recovered' | 'unrecoverable'
  readonly position: StreamPosition
  readonly missed: readonly EncodedEvent[]
  /** Continuity was lost before `start`: the answer must not promise it. */
  readonly wasReset: boolean
  /** Hands over what arrived since `position`, then delivers live. Call it once the reply is on its way. */
  start(): void
  /** No delivery after this returns. May be called at any time, also before `start`, and twice. */
  leave(): void
}

/** Where the gateway gets a channel's events from. */
export interface EventSource {
  /** @throws LS_DATABASE_UNREACHABLE and other retryable errors of the log */
  join(channel: string, request: JoinRequest, subscriber: Subscriber): Promise<Joined>
}

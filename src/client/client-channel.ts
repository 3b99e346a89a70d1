import type { StreamPosition } from '../protocol/index.ts'
import type { DraftView } from './draft-view.ts'
import type { Off } from './listeners.ts'
import type { LockstepClientError } from './errors.ts'

interface EventFacts {
  readonly channel: string
  /** The operation that it belongs to. */
  readonly operationId: string
  /** ISO 8601 with milliseconds, UTC: when its transaction was flushed, by the database's clock. */
  readonly at: string
}

/** A fact: its transaction has committed. */
export interface CommittedEvent<Type extends string = string, Data = unknown> extends EventFacts {
  readonly type: Type
  readonly data: Data
  readonly committed: true
  /** The channel's gap-free sequence number. */
  readonly offset: number
}

/**
 * Event that was sent before its transaction has committed, or without one: only in the modes `observe` and `off`. It has no
 * place in the channel's order, and is not taken back.
 */
export interface UncommittedEvent<Type extends string = string, Data = unknown> extends EventFacts {
  readonly type: Type
  readonly data: Data
  readonly committed: false
  readonly offset: undefined
}

export type ChannelEvent<Type extends string = string, Data = unknown> =
  CommittedEvent<Type, Data> | UncommittedEvent<Type, Data>

/** Union of a channel's events, to be told apart by `type`. */
export type AnyEvent<Events> = {
  [Type in keyof Events & string]: ChannelEvent<Type, Events[Type]>
}[keyof Events & string]

/**
 * - `subscribing`: not joined yet, or joining again; events wait at the server.
 * - `subscribed`: events arrive.
 * - `unsubscribed`: closed, or refused for good by the server (see `error`).
 */
export type ChannelState = 'subscribing' | 'subscribed' | 'unsubscribed'

export interface ChannelOptions {
  /**
   * Loads what the channel's events build upon, and says up to which event that reached: read the position first,
   * or both in one repeatable-read transaction. Called before the first event, and again whenever events were
   * missed that are no longer kept. When it rejects it is called again after a while, except when the server has
   * refused it for good (`LS_FORBIDDEN`, say): that ends the channel, as a refused subscription does.
   */
  readonly getState?: () => Promise<StreamPosition>
  /** Position to begin after. Default, without `getState`: now. */
  readonly since?: StreamPosition
}

/** Events of one channel, in the channel's order, each once. */
export interface Channel<
  Events = Readonly<Record<string, unknown>>,
  Drafts = Readonly<Record<string, unknown>>,
> {
  readonly name: string
  readonly state: ChannelState
  /** Reason why the server refused or ended the subscription. */
  readonly error: LockstepClientError | undefined
  on(type: '*', listener: (data: Events[keyof Events & string], event: AnyEvent<Events>) => void): Off
  on<Type extends keyof Events & string>(
    type: Type,
    listener: (data: Events[Type], event: ChannelEvent<Type, Events[Type]>) => void,
  ): Off
  /**
   * Hears of a draft at each change, and at first of those that are open. Its end comes in the same turn as the event that
   * committed it, behind that.
   */
  onDraft<Name extends keyof Drafts & string>(
    name: Name,
    listener: (draft: DraftView<Drafts[Name]>) => void,
  ): Off
  /** Events were missed that are no longer kept: reload what was built from them. `getState` does so by itself. */
  onReset(listener: () => void): Off
  onChange(listener: (state: ChannelState) => void): Off
  /** Resolves once subscribed. Rejects with a `LockstepClientError` when the server refuses, or on `close`. */
  ready(): Promise<void>
  /** Ends this handle. The channel is left when its last handle is closed. */
  close(): void
}

import type { StreamPosition } from '../protocol/index.ts'
import type { ChannelFeed } from './channel-feed.ts'
import { Listeners, type Off } from './listeners.ts'
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
  readonly draft: false
  /** The channel's gap-free sequence number. */
  readonly offset: number
}

/** Shown early, and not true yet: a commit or a retraction with the same `operationId` settles it. */
export interface DraftEvent<Type extends string = string, Data = unknown> extends EventFacts {
  readonly type: Type
  readonly data: Data
  readonly draft: true
  readonly offset: undefined
}

export type ChannelEvent<Type extends string = string, Data = unknown> =
  CommittedEvent<Type, Data> | DraftEvent<Type, Data>

/** Any event of a channel, to be told apart by `type`. */
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
  /** Where to begin: events after this one. Without it and without `getState`, from now on. */
  readonly since?: StreamPosition
}

/** Events of one channel, in the channel's order, each once. */
export interface Channel<Events = Readonly<Record<string, unknown>>> {
  readonly name: string
  readonly state: ChannelState
  /** Why the server refused or ended the subscription. */
  readonly error: LockstepClientError | undefined
  on(type: '*', listener: (data: Events[keyof Events & string], event: AnyEvent<Events>) => void): Off
  on<Type extends keyof Events & string>(
    type: Type,
    listener: (data: Events[Type], event: ChannelEvent<Type, Events[Type]>) => void,
  ): Off
  /** Events were missed that are no longer kept: reload what was built from them. `getState` does so by itself. */
  onReset(listener: () => void): Off
  onChange(listener: (state: ChannelState) => void): Off
  /** Resolves once subscribed. Rejects with a `LockstepClientError` when the server refuses, or on `close`. */
  ready(): Promise<void>
  /** Ends this handle. The channel is left when its last handle is closed. */
  close(): void
}

type Listener = (data: unknown, event: ChannelEvent) => void

/** One user of a channel's feed, with listeners of its own. */
export class ChannelHandle implements Channel {
  readonly #feed: ChannelFeed
  readonly #byType = new Map<string, Listeners<[unknown, ChannelEvent]>>()
  readonly #offs = new Set<Off>()

  constructor(feed: ChannelFeed) {
    this.#feed = feed
    this.#offs.add(
      feed.onEvent.add((event) => {
        this.#byType.get(event.type)?.emit(event.data, event)
        this.#byType.get('*')?.emit(event.data, event)
      }),
    )
    feed.enter(this)
  }

  get name(): string {
    return this.#feed.name
  }

  get state(): ChannelState {
    return this.#feed.state
  }

  get error(): LockstepClientError | undefined {
    return this.#feed.error
  }

  on(type: string, listener: Listener): Off {
    let listeners = this.#byType.get(type)
    if (listeners === undefined) {
      listeners = new Listeners(this.#feed.reportError)
      this.#byType.set(type, listeners)
    }
    return listeners.add(listener)
  }

  onReset(listener: () => void): Off {
    return this.#keep(this.#feed.onReset.add(listener))
  }

  onChange(listener: (state: ChannelState) => void): Off {
    return this.#keep(this.#feed.onChange.add(listener))
  }

  ready(): Promise<void> {
    return this.#feed.ready()
  }

  close(): void {
    for (const off of this.#offs) off()
    this.#offs.clear()
    this.#byType.clear()
    this.#feed.leave(this)
  }

  #keep(off: Off): Off {
    this.#offs.add(off)
    return () => {
      this.#offs.delete(off)
      off()
    }
  }
}

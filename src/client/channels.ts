import type { AcknowledgementSender } from './acknowledgement-sender.ts'
import type { Delays } from './backoff.ts'
import type { Centrifuge } from './centrifuge.ts'
import type { Joined } from './channel-event.ts'
import { ChannelHandle } from './channel-handle.ts'
import type { ChannelEvent, ChannelOptions } from './client-channel.ts'
import { assertKind, assertOptions, misuse, ofPosition } from './client-options.ts'
import type { ConnectionWait } from './connection-wait.ts'
import type { LockstepClientError } from './errors.ts'
import type { DraftView } from './draft-view.ts'
import type { ErrorListener, Off } from './listeners.ts'
import { SharedSubscription } from './shared-subscription.ts'

export interface ChannelsOptions {
  readonly centrifuge: Centrifuge
  readonly acknowledgements: AcknowledgementSender
  readonly delays: Delays
  readonly connectionWait: ConnectionWait
  readonly onError: ErrorListener
  /** Hears each event of each channel that is open. */
  readonly onEvent: (event: ChannelEvent) => void
  readonly onJoined: (channel: string, joined: Joined) => void
  readonly onDraft: (draft: DraftView) => void
}

/** Channels that are open, one subscription each: for the page, and for the runs that it follows. */
export class Channels {
  readonly #options: ChannelsOptions
  readonly #feeds = new Map<string, SharedSubscription>()
  /** Channels that are open for runs, each with the number of these. */
  readonly #followed = new Map<string, { handle: ChannelHandle; runs: number }>()

  constructor(options: ChannelsOptions) {
    this.#options = options
  }

  open(name: string, options: ChannelOptions = {}): ChannelHandle {
    assertKind('The name of a channel', name, 'string')
    assertOptions('channel', options, { getState: 'function', since: ofPosition })
    if (options.getState === undefined && options.since === undefined)
      return new ChannelHandle(this.#feed(name, options))
    const followed = this.#followed.get(name)
    const feed = this.#feeds.get(name)
    if (feed !== undefined && !(followed !== undefined && feed.hasOnly(followed.handle)))
      throw misuse(`The channel "${name}" is open already. Give getState or since where it is opened first.`)
    // The page itself opens it for the first time: what runs have of it begins anew.
    followed?.handle.close()
    const handle = new ChannelHandle(this.#feed(name, options))
    if (followed !== undefined) followed.handle = new ChannelHandle(this.#feed(name))
    return handle
  }

  /** Opens a channel for a run, without options, until the run needs it no more. */
  follow(name: string): { readonly isJoined: boolean; readonly off: Off } {
    const feed = this.#feed(name)
    const isJoined = feed.state === 'subscribed'
    const followed = this.#followed.get(name) ?? { handle: new ChannelHandle(feed), runs: 0 }
    followed.runs += 1
    this.#followed.set(name, followed)
    return {
      isJoined,
      off: () => {
        followed.runs -= 1
        if (followed.runs > 0) return
        this.#followed.delete(name)
        followed.handle.close()
      },
    }
  }

  /** The open draft of a run. */
  draftOf(channel: string, runId: string, name: string): DraftView | undefined {
    return this.#feeds.get(channel)?.drafts.of(runId, name)
  }

  offline(): void {
    for (const feed of this.#feeds.values()) feed.offline()
  }

  ended(error: LockstepClientError): void {
    for (const feed of this.#feeds.values()) feed.ended(error)
  }

  close(): void {
    for (const feed of this.#feeds.values()) feed.close()
    this.#feeds.clear()
  }

  #feed(name: string, options: ChannelOptions = {}): SharedSubscription {
    const known = this.#feeds.get(name)
    if (known !== undefined) return known
    const { onEvent, onJoined } = this.#options
    const feed = new SharedSubscription({
      ...this.#options,
      ...options,
      name,
      onEmpty: () => {
        this.#feeds.delete(name)
      },
    })
    this.#feeds.set(name, feed)
    feed.onEvent.add(onEvent)
    feed.onJoined.add((joined) => onJoined(name, joined))
    return feed
  }
}

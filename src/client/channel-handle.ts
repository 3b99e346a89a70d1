import type { Channel, ChannelEvent, ChannelState } from './client-channel.ts'
import type { SharedSubscription } from './shared-subscription.ts'
import type { DraftView } from './draft-view.ts'
import type { LockstepClientError } from './errors.ts'
import { assertListener, type Off } from './listeners.ts'

type Listener = (data: unknown, event: ChannelEvent) => unknown

/** A user of a channel's feed, with listeners of its own. */
export class ChannelHandle implements Channel {
  readonly #feed: SharedSubscription
  readonly #offs = new Set<Off>()

  constructor(feed: SharedSubscription) {
    this.#feed = feed
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
    assertListener(listener)
    // Returned, so that the failure of an async listener is reported.
    return this.#keep(
      this.#feed.onEvent.add((event) =>
        type === '*' || type === event.type ? listener(event.data, event) : undefined,
      ),
    )
  }

  onDraft(name: string, listener: (draft: DraftView) => unknown): Off {
    assertListener(listener)
    return this.#keep(this.#feed.drafts.on(name, listener))
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

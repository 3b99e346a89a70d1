import { ChannelOngoing } from './channel-ongoing.ts'
import type { OngoingSource } from './ongoing-source.ts'

/** Feed as the questions for its open drafts and runs need it. */
export interface OngoingHost {
  readonly channel: string
  readonly position: number
  readonly hasEnded: boolean
  /** Takes the head of a snapshot; resolves when the feed has come that far. */
  reach(head: number, positionBefore: number): Promise<void>
}

/** Open drafts and runs of a feed's channel, read once from the database and then followed. */
export class FeedOngoing extends ChannelOngoing {
  readonly #host: OngoingHost
  readonly #source: OngoingSource
  #asking: Promise<void> | undefined

  constructor(host: OngoingHost, source: OngoingSource) {
    super()
    this.#host = host
    this.#source = source
  }

  /** Resolves when they are known where the feed stands. @throws retryable database errors */
  async known(): Promise<void> {
    while (!this.isKnownAt(this.#host.position) && !this.#host.hasEnded) {
      this.#asking ??= this.#ask().finally(() => {
        this.#asking = undefined
      })
      await this.#asking
    }
  }

  async #ask(): Promise<void> {
    const { channel, position } = this.#host
    const snapshot = await this.#source.read(channel)
    if (this.#host.hasEnded) return
    this.answered(snapshot)
    await this.#host.reach(snapshot.head, position)
  }
}

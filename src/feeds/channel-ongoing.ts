import type { Ongoing } from '../protocol/index.ts'
import { OngoingRuns } from './ongoing-runs.ts'
import type { OngoingSnapshot } from './ongoing-source.ts'

/** Fields of a delivered event, as far as they tell of what is open. */
interface Told {
  readonly offset: number
  readonly type: string
  readonly data: string
  readonly operationId: string
}

/**
 * Open drafts and runs of a channel, at the position of its feed: a snapshot of the database, and what has been delivered since.
 * Pure: the feed asks for the snapshot.
 */
export class ChannelOngoing {
  readonly #runs = new OngoingRuns()
  /** Head in the snapshot; undefined before there is one. */
  #cut: number | undefined
  /** Events delivered since the snapshot was asked for. */
  #noted: Told[] = []
  #text: string | undefined

  /** Whether it is known at a position of the feed. */
  isKnownAt(position: number): boolean {
    return this.#cut !== undefined && position >= this.#cut
  }

  /** JSON text of what is open: one for all subscribers who join at one position. */
  get text(): string {
    this.#text ??= JSON.stringify({ drafts: [], runs: this.#runs.all } satisfies Ongoing)
    return this.#text
  }

  /** The events between are gone: only another snapshot tells what is open. */
  startOver(): void {
    this.#cut = undefined
    this.#noted = []
    this.#change()
  }

  answered({ head, runs }: OngoingSnapshot): void {
    this.#runs.restart(runs)
    this.#cut = head
    const since = this.#noted
    this.#noted = []
    this.#change()
    this.delivered(since)
  }

  /** Events were delivered, in the order of the log. */
  delivered(events: readonly Told[]): void {
    if (this.#cut === undefined) {
      this.#noted.push(...events)
      return
    }
    for (const event of events) if (event.offset > this.#cut && this.#runs.delivered(event)) this.#change()
  }

  /** A push without an offset was shown. */
  pushed(push: Pick<Told, 'type' | 'data'>): void {
    if (this.#runs.pushed(push)) this.#change()
  }

  #change(): void {
    this.#text = undefined
  }
}

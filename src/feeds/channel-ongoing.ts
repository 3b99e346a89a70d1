import { draftEvents, type DraftPush, type Ongoing } from '../protocol/index.ts'
import { OngoingDrafts } from './ongoing-drafts.ts'
import { OngoingRuns } from './ongoing-runs.ts'
import type { OngoingSnapshot } from './ongoing-source.ts'

/** Fields of a delivered event, as far as they tell of what is open. */
interface Told {
  readonly offset: number
  readonly type: string
  readonly data: string
  readonly operationId: string
}

/** Characters of progress, of all runs together, in one reply. */
const mostProgressLength = 64 * 1024

/**
 * Open drafts and runs of a channel, at the position of its feed: a snapshot of the database, and what has been delivered since.
 * Pure: the feed asks for the snapshot, and shows the pushes that are answered.
 */
export class ChannelOngoing {
  readonly drafts = new OngoingDrafts()
  readonly #runs = new OngoingRuns()
  /** Head in the snapshot; undefined before there is one. */
  #cut: number | undefined
  /** Events delivered since the snapshot was asked for. */
  #noted: Told[] = []
  /** Pushes about runs since the snapshot was asked for. */
  #pushes: Pick<Told, 'type' | 'data'>[] = []
  #text: string | undefined

  /** Whether it is known at a position of the feed. */
  isKnownAt(position: number): boolean {
    return this.#cut !== undefined && position >= this.#cut
  }

  /** JSON text of what is open: one for all subscribers who join at one position. */
  get text(): string {
    this.#text ??= JSON.stringify({ drafts: this.drafts.all, runs: this.#shownRuns() } satisfies Ongoing)
    return this.#text
  }

  /** The events between are gone: only another snapshot tells what is open. */
  startOver(): void {
    this.#cut = undefined
    this.#noted = []
    this.#pushes = []
    this.changed()
  }

  answered({ head, runs, drafts }: OngoingSnapshot, now = 0): void {
    this.#runs.restart(runs)
    this.drafts.restart(drafts, now)
    this.#cut = head
    const since = this.#noted
    this.#noted = []
    this.changed()
    this.delivered(since, head, now)
    const pushes = this.#pushes
    this.#pushes = []
    for (const push of pushes) this.#runs.pushed(push)
  }

  /** Events were delivered, in the order of the log. @returns pushes that follow them */
  delivered(events: readonly Told[], position = 0, now = 0): readonly DraftPush[] {
    if (this.#cut === undefined) {
      for (const event of events) this.#noted.push(event)
      return []
    }
    for (const event of events) {
      if (event.offset <= this.#cut) continue
      const hasEnded = this.drafts.delivered(event, now)
      if (this.#runs.delivered(event) || hasEnded) this.changed()
    }
    return this.#shown(this.drafts.moved(position, now))
  }

  /** A push without an offset has come. @returns pushes to be shown in its place; undefined: itself */
  pushed(push: Pick<Told, 'type' | 'data'>, position = 0, now = 0): readonly DraftPush[] | undefined {
    if (push.type === draftEvents.push) {
      // Drop a push before the snapshot is there: nobody listens yet, and what the snapshot lacks is asked for.
      if (this.#cut === undefined) return []
      const parsed = { ...(JSON.parse(push.data) as object), type: draftEvents.push } as DraftPush
      return this.#shown(this.drafts.heard(parsed, position, now))
    }
    if (this.#cut === undefined) this.#pushes.push(push)
    else if (this.#runs.pushed(push)) this.changed()
    return undefined
  }

  /** Drops the cached text, because drafts or runs have changed. */
  changed(): void {
    this.#text = undefined
  }

  /** Open runs. Progress goes along as far as it fits: a client keeps what it has, and hears the next one. */
  #shownRuns(): Ongoing['runs'] {
    let left = mostProgressLength
    return this.#runs.all.map((run) => {
      left -= JSON.stringify(run.progress ?? null).length
      return left >= 0 ? run : { ...run, progress: null }
    })
  }

  #shown(pushes: readonly DraftPush[]): readonly DraftPush[] {
    if (pushes.length > 0) this.changed()
    return pushes
  }
}

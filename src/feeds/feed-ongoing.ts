import { draftEvents, touchedEvent, type DraftPush } from '../protocol/index.ts'
import { detach, type Clock, type Logger } from '../core/index.ts'
import { ChannelOngoing } from './channel-ongoing.ts'
import type { TransientEvent } from './feed-event.ts'
import type { OngoingSource } from './ongoing-source.ts'

/** Feed as the questions for its open drafts and runs need it. */
export interface OngoingHost {
  readonly channel: string
  readonly position: number
  readonly hasEnded: boolean
  /** Takes the head of a snapshot; resolves when the feed has come that far. */
  reach(head: number, positionBefore: number): Promise<void>
  /** Shows pushes to those who listen now. */
  show(pushes: readonly TransientEvent[]): void
}

/** Time until chunks that are missing are asked for, in milliseconds: their rows are written each 200 ms. */
const missingAfterMs = 100

/** Open drafts and runs of a feed's channel, read once from the database and then followed. */
export class FeedOngoing {
  readonly #ongoing = new ChannelOngoing()
  readonly #host: OngoingHost
  readonly #source: OngoingSource
  readonly #clock: Clock
  readonly #logger: Logger
  #asking: Promise<void> | undefined
  #cancel: (() => void) | undefined
  #isFilling = false
  /** Offset of the last event that clients were shown; 0 before the first. */
  #shownOffset = 0

  constructor(
    host: OngoingHost,
    source: OngoingSource,
    { clock, logger }: { readonly clock: Clock; readonly logger: Logger },
  ) {
    this.#host = host
    this.#source = source
    this.#clock = clock
    this.#logger = logger
  }

  get text(): string {
    return this.#ongoing.text
  }

  /** Resolves when they are known where the feed stands. @throws retryable database errors */
  async known(): Promise<void> {
    while (!this.#ongoing.isKnownAt(this.#host.position) && !this.#host.hasEnded) {
      this.#asking ??= this.#ask().finally(() => {
        this.#asking = undefined
      })
      await this.#asking
    }
  }

  startOver(): void {
    this.#ongoing.startOver()
  }

  close(): void {
    this.#cancel?.()
    this.#cancel = undefined
  }

  /** Events were shown: what follows them may be shown now. */
  delivered(events: readonly { offset: number; type: string; data: string; operationId: string }[]): void {
    this.#shownOffset = events.findLast(({ type }) => type !== touchedEvent)?.offset ?? this.#shownOffset
    this.#show(this.#ongoing.delivered(events, this.#host.position, this.#clock.monotonic()))
  }

  /** A push has come. */
  pushed(push: TransientEvent): void {
    const shown = this.#ongoing.pushed(push, this.#host.position, this.#clock.monotonic())
    if (shown === undefined) this.#host.show([push])
    else this.#show(shown)
    if (this.#ongoing.drafts.hasMissing) this.#fillSoon()
  }

  /** Asks how drafts stand that have been silent. */
  look(): void {
    if (this.#ongoing.drafts.asked(this.#clock.monotonic()).length > 0) this.#fillSoon(0)
  }

  #show(pushes: readonly DraftPush[]): void {
    if (pushes.length > 0) this.#host.show(pushes.map((push) => this.#toTransient(push)))
  }

  #toTransient(push: DraftPush): TransientEvent {
    const { type, runId, chunks } = push
    // The feed shows chunks behind the events that they follow. A subscriber does not know of entries that no client is shown.
    const draft = { ...push.draft, after: Math.min(push.draft.after, this.#shownOffset) }
    return {
      channel: this.#host.channel,
      type,
      operationId: draft.operation,
      data: JSON.stringify({ draft, runId, chunks }),
      at: new Date(this.#clock.now()),
      push,
    }
  }

  #fillSoon(afterMs = missingAfterMs): void {
    if (this.#host.hasEnded || this.#isFilling) return
    this.#cancel ??= this.#clock.after(afterMs, () => {
      this.#cancel = undefined
      detach(this.#fill(), this.#logger, 'the question for drafts')
    })
  }

  async #fill(): Promise<void> {
    const { drafts } = this.#ongoing
    const { channel, position } = this.#host
    const asked = drafts.asked(this.#clock.monotonic())
    if (asked.length === 0 || !this.#ongoing.isKnownAt(position)) return
    this.#isFilling = true
    try {
      const { head, drafts: open, openOperations } = await this.#source.readDrafts(channel, asked)
      if (this.#host.hasEnded) return
      const now = this.#clock.monotonic()
      const { shown, ended } = drafts.answered(asked, open, {
        openOperations,
        reached: this.#host.position >= head,
        now,
      })
      this.#ongoing.changed()
      this.#show(shown)
      this.#host.show(ended.map((operationId) => this.#retracted(operationId)))
    } finally {
      this.#isFilling = false
    }
    if (drafts.hasMissing) this.#fillSoon()
  }

  /** The end of a draft whose event the log does not have. */
  #retracted(operationId: string): TransientEvent {
    const { channel } = this.#host
    return {
      channel,
      type: draftEvents.retracted,
      operationId,
      data: 'null',
      at: new Date(this.#clock.now()),
    }
  }

  async #ask(): Promise<void> {
    const { channel, position } = this.#host
    const snapshot = await this.#source.read(channel)
    if (this.#host.hasEnded) return
    this.#ongoing.answered(snapshot, this.#clock.monotonic())
    await this.#host.reach(snapshot.head, position)
  }
}

import type { Clock } from '../core/index.ts'
import { acknowledgeTag, coordinationEvents, touchedEvent } from '../protocol/index.ts'
import type { StoredEvent } from '../log/index.ts'
import type { PublicationTags } from './feed-event.ts'

export interface AckSampling {
  /** Share of the events whose receivers are asked to acknowledge, from 0 to 1. Default 0.01. */
  readonly rate?: number
  /** Events a second at most. Default 20. */
  readonly perSecond?: number
}

/** Answers wanted for one event: enough to see a spread, and no flood from a channel with thousands. */
const answersWanted = 20
const second = 1_000

/** Chooses the events whose receivers are asked to acknowledge: the first of each second, and some by chance. */
export class AckSampler {
  readonly #clock: Clock
  readonly #rate: number
  readonly #perSecond: number
  #secondEndsAt = -Infinity
  #left = 0

  constructor(clock: Clock, { rate = 0.01, perSecond = 20 }: AckSampling = {}) {
    this.#clock = clock
    this.#rate = rate
    this.#perSecond = perSecond
  }

  /** Tags for an event that goes to so many subscribers; undefined for one that is not chosen. */
  tagsFor({ type }: StoredEvent, subscribers: number): PublicationTags | undefined {
    // The notice of a rollback follows no commit, which is what the distance is taken from.
    if (type === coordinationEvents.transactionRolledBack || type === touchedEvent || !this.#choose())
      return undefined
    const share = Math.min(1, answersWanted / Math.max(1, subscribers))
    return { [acknowledgeTag]: String(Number(share.toPrecision(2))) }
  }

  #choose(): boolean {
    if (this.#rate <= 0) return false
    const now = this.#clock.monotonic()
    const isFirst = now >= this.#secondEndsAt
    if (isFirst) {
      this.#secondEndsAt = now + second
      this.#left = this.#perSecond
    }
    if (this.#left < 1 || (!isFirst && Math.random() >= this.#rate)) return false
    this.#left -= 1
    return true
  }
}

/** A settlement that waits for its statement, as far as its turn depends on it. */
export interface QueuedSettlement {
  /** Channel whose head the settlement locks, and others may hold; undefined: it shares nothing with other settlements. */
  readonly channel: string | undefined
  /** Set where nobody waits for the settlement. */
  readonly isOrphan: boolean
  /** Asks, before another try, whether to stop; true fails the settlement with the error that made it wait. */
  readonly isStopping?: (() => boolean) | undefined
  /** Set where it was held up alone, and so may be what holds up the others of its channel. */
  isSuspect: boolean
  /** Time since when its channel is held up, in monotonic milliseconds. */
  heldSince?: number
}

/** Operations of one statement: longer statements save little more, and hold the heads of their channels for longer. */
export const longestBatch = 100
const firstPauseMs = 25
/** Two operations of a channel were held up, one after the other: its head is held, so no third one is tried at once. */
const missedOfHeld = 2

/** State of a channel in trouble after one of its statements has ended. */
export type TroubleStep = 'isOver' | 'goesOn' | 'pauses'

/**
 * Decides how the settlements of one channel go on after a statement of theirs was held up or refused: together, one at a
 * time, or after a pause. Pure: it is told what came back, and when.
 */
export class ChannelTrouble<Entry extends QueuedSettlement> {
  /** The channel; of a settlement without one, the settlement itself. */
  readonly key: unknown
  readonly #patienceMs: number
  #entries: Entry[] = []
  /** True while settlements that are no suspects go in one batch: there is no evidence against any of them. */
  #goesTogether: boolean
  /** Settlements that were held up since one was last answered. */
  readonly #missed = new Set<Entry>()
  #pauseMs = firstPauseMs
  #pausedUntilMs: number | undefined
  #lastError: unknown

  /** @param patienceMs how long a settlement that is held up is tried again before its asker is told */
  constructor(key: unknown, patienceMs: number, goesTogether: boolean) {
    this.key = key
    this.#patienceMs = patienceMs
    this.#goesTogether = goesTogether
  }

  /** Whether no settlement was held up by itself yet: another transaction need not be in the way. */
  get isUnproven(): boolean {
    return this.#missed.size === 0
  }

  /** Whether the head is known to be held: whatever else needs it would wait as well. */
  get isHeld(): boolean {
    return this.#missed.size >= missedOfHeld
  }

  /** End of the pause, in monotonic milliseconds; undefined while there is none. */
  get pausedUntilMs(): number | undefined {
    return this.#pausedUntilMs
  }

  /** Puts a settlement behind the others. `error`: what the statement that it was in has failed with. */
  add(entry: Entry, nowMs: number, error?: unknown): void {
    if (this.#pausedUntilMs !== undefined) entry.heldSince ??= nowMs
    this.#entries.push(entry)
    this.#lastError ??= error
  }

  endPause(): void {
    this.#pausedUntilMs = undefined
  }

  /** Takes the settlements that are to stop, which fail with `error`; undefined where none does. */
  takeStopped(): { readonly entries: readonly Entry[]; readonly error: unknown } | undefined {
    if (this.#lastError === undefined) return undefined
    const stopped = this.#entries.filter(({ isStopping }) => isStopping?.() === true)
    if (stopped.length === 0) return undefined
    this.#leaveOut(stopped)
    return { entries: stopped, error: this.#lastError }
  }

  /** Takes the next batch: settlements that are no suspects, together or one by one; after them one suspect at a time. */
  take(): readonly Entry[] {
    const fresh = this.#entries.filter(({ isSuspect }) => !isSuspect)
    const most = this.#goesTogether ? longestBatch : 1
    const batch = fresh.length > 0 ? fresh.slice(0, most) : this.#entries.slice(0, 1)
    this.#leaveOut(batch)
    return batch
  }

  /** The batch was answered: the head is free. */
  answered(): TroubleStep {
    this.#goesTogether = this.isHeld
    this.#missed.clear()
    this.#pauseMs = firstPauseMs
    return this.goesOn()
  }

  /** The batch has failed together: from now on its settlements go one at a time. */
  part(batch: readonly Entry[], error: unknown): TroubleStep {
    this.#lastError = error
    this.#goesTogether = false
    this.#entries = [...batch, ...this.#entries]
    return 'goesOn'
  }

  /**
   * A settlement was held up alone. While others of the channel are to be tried at once, it waits behind them; after that, all
   * of them pause. Those whose patience a pause would outlast are `over`.
   */
  miss(
    entry: Entry,
    error: unknown,
    nowMs: number,
  ): { readonly step: TroubleStep; readonly over: readonly Entry[] } {
    entry.isSuspect = true
    this.#missed.add(entry)
    this.#entries.push(entry)
    this.#lastError = error
    for (const waiting of this.#entries) waiting.heldSince ??= nowMs
    if (this.#missed.size < Math.min(missedOfHeld, this.#entries.length)) return { step: 'goesOn', over: [] }
    const lastStart = nowMs + this.#pauseMs - this.#patienceMs
    const over = this.#entries.filter(({ heldSince = nowMs }) => heldSince < lastStart)
    this.#leaveOut(over)
    this.#pausedUntilMs = nowMs + this.#pauseMs
    this.#pauseMs = Math.min(this.#pauseMs * 2, this.#patienceMs)
    return { step: 'pauses', over }
  }

  goesOn(): TroubleStep {
    return this.#entries.length === 0 ? 'isOver' : 'goesOn'
  }

  #leaveOut(entries: readonly Entry[]): void {
    const left = new Set(entries)
    this.#entries = this.#entries.filter((entry) => !left.has(entry))
  }
}

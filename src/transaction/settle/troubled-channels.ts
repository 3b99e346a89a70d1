import type { Clock } from '../../core/index.ts'

export interface TroubleOptions<Asked> {
  /** Names what two entries share that one of them may hold up; undefined: they share nothing. */
  readonly channelOf: (asked: Asked) => string | undefined
  readonly clock: Clock
  /** How long one that is held up is tried again before its asker is told, in milliseconds. */
  readonly patienceMs: number
  /** Called when a pause has ended: something may be sent. */
  readonly onReady: () => void
}

export interface Entry<Asked, Answer> {
  readonly asked: Asked
  readonly resolve: (answer: Answer) => void
  readonly reject: (error: unknown) => void
  /** Asks, before another try, whether to stop; true fails the entry with the error that made it wait. */
  readonly isStopping?: (() => boolean) | undefined
  /** Set where the entry was held up alone, and so may be what holds up the others of its channel. */
  isSuspect: boolean
  /** Time since when its channel is held up, by the clock's monotonic scale. */
  heldSince?: number
}

/** Operations of one channel after one of their statements failed. One statement at a time is for them. */
interface Trouble<Asked, Answer> {
  readonly key: unknown
  entries: Entry<Asked, Answer>[]
  /** True while entries that are no suspects go in one batch: there is no evidence against any of them. */
  goesTogether: boolean
  /** Entries that were held up since one was last answered. */
  readonly missed: Set<Entry<Asked, Answer>>
  retryMs: number
  /** Ends its pause, while it has one. */
  endPause?: (() => void) | undefined
  lastError: unknown
}

/** Operations of one statement: longer statements save little more, and hold the heads of their channels for longer. */
export const longestBatch = 100
const firstRetryMs = 25
/** Two operations of a channel were held up, one after the other: its head is held, so no third one is tried at once. */
const missedOfHeld = 2

/**
 * Entries that were held up or refused, by channel. Channels take turns, those first of which nothing is known, so that a channel
 * whose head is held costs others one wait, however much stands behind that head.
 */
export class TroubledChannels<Asked, Answer> {
  readonly #options: TroubleOptions<Asked>
  readonly #byKey = new Map<unknown, Trouble<Asked, Answer>>()
  readonly #ready: Trouble<Asked, Answer>[] = []

  constructor(options: TroubleOptions<Asked>) {
    this.#options = options
  }

  /** Whether a new one would stand behind a head that is known to be held. */
  isHeld({ asked }: Entry<Asked, Answer>): boolean {
    const channel = this.#options.channelOf(asked)
    return channel !== undefined && (this.#byKey.get(channel)?.missed.size ?? 0) >= missedOfHeld
  }

  /** Takes those of a statement that failed, or one that is known to be in trouble. */
  add(entries: readonly Entry<Asked, Answer>[], error?: unknown): void {
    const { channelOf, clock } = this.#options
    const groups = new Map<unknown, Entry<Asked, Answer>[]>()
    for (const entry of entries) {
      const key = channelOf(entry.asked) ?? entry
      const group = groups.get(key)
      if (group === undefined) groups.set(key, [entry])
      else group.push(entry)
    }
    for (const [key, group] of groups) {
      const known = this.#byKey.get(key)
      if (known !== undefined) {
        for (const entry of group) {
          if (known.endPause !== undefined) entry.heldSince ??= clock.monotonic()
          known.entries.push(entry)
        }
        if (known.missed.size < missedOfHeld) known.endPause?.()
        continue
      }
      const trouble: Trouble<Asked, Answer> = {
        key,
        entries: group,
        goesTogether: groups.size > 1,
        missed: new Set(),
        retryMs: firstRetryMs,
        lastError: error,
      }
      this.#byKey.set(key, trouble)
      this.#ready.push(trouble)
    }
  }

  /** Takes an entry that was held up alone: it comes again after a pause. */
  addHeld(entry: Entry<Asked, Answer>, error: unknown): void {
    const key = this.#options.channelOf(entry.asked) ?? entry
    const known = this.#byKey.get(key)
    entry.isSuspect = true
    this.add([entry], error)
    const trouble = this.#byKey.get(key)
    if (known !== undefined || trouble === undefined) return
    this.#ready.splice(this.#ready.indexOf(trouble), 1)
    trouble.entries = []
    this.#afterMiss(trouble, [entry], error)
  }

  /** The next statement, with what to call when it has ended. */
  next(): Sending<Asked, Answer> | undefined {
    for (;;) {
      const unknown = this.#ready.findIndex(({ missed }) => missed.size === 0)
      const [trouble] = this.#ready.splice(Math.max(unknown, 0), 1)
      if (trouble === undefined) return undefined
      this.#dropStopped(trouble)
      const batch = take(trouble)
      if (batch.length > 0) {
        return {
          batch,
          isOneAlone: true,
          answered: () => this.#afterAnswer(trouble),
          failed: (error) => this.#afterError(trouble, batch, error),
          lost: () => this.#again(trouble),
        }
      }
      this.#byKey.delete(trouble.key)
    }
  }

  #dropStopped(trouble: Trouble<Asked, Answer>): void {
    if (trouble.lastError === undefined) return
    const stopped = trouble.entries.filter(({ isStopping }) => isStopping?.() === true)
    trouble.entries = trouble.entries.filter((entry) => !stopped.includes(entry))
    for (const { reject } of stopped) reject(trouble.lastError)
  }

  #afterAnswer(trouble: Trouble<Asked, Answer>): void {
    trouble.goesTogether = trouble.missed.size >= missedOfHeld
    trouble.missed.clear()
    trouble.retryMs = firstRetryMs
    this.#again(trouble)
  }

  #afterError(trouble: Trouble<Asked, Answer>, batch: readonly Entry<Asked, Answer>[], error: unknown): void {
    trouble.lastError = error
    if (batch.length > 1) {
      trouble.goesTogether = false
      trouble.entries = [...batch, ...trouble.entries]
      this.#again(trouble)
    } else this.#afterMiss(trouble, batch, error)
  }

  /**
   * Handles a failed entry that went alone. While others of the channel are to be tried at once, it waits behind them.
   */
  #afterMiss(trouble: Trouble<Asked, Answer>, batch: readonly Entry<Asked, Answer>[], error: unknown): void {
    const { clock, patienceMs } = this.#options
    for (const entry of batch) {
      entry.isSuspect = true
      trouble.missed.add(entry)
      trouble.entries.push(entry)
    }
    trouble.lastError = error
    const now = clock.monotonic()
    for (const entry of trouble.entries) entry.heldSince ??= now
    if (trouble.missed.size < Math.min(missedOfHeld, trouble.entries.length)) return this.#again(trouble)
    const isOver = ({ heldSince = now }: Entry<Asked, Answer>): boolean =>
      now - heldSince + trouble.retryMs > patienceMs
    const over = trouble.entries.filter(isOver)
    trouble.entries = trouble.entries.filter((entry) => !isOver(entry))
    const endPause = (): void => {
      cancel()
      trouble.endPause = undefined
      this.#again(trouble)
      this.#options.onReady()
    }
    const cancel = clock.after(trouble.retryMs, endPause)
    trouble.endPause = endPause
    trouble.retryMs = Math.min(trouble.retryMs * 2, patienceMs)
    for (const { reject } of over) reject(error)
  }

  #again(trouble: Trouble<Asked, Answer>): void {
    if (trouble.entries.length > 0) this.#ready.push(trouble)
    else this.#byKey.delete(trouble.key)
  }
}

/** The entries of one statement, and what to do when it has ended. */
export interface Sending<Asked, Answer> {
  readonly batch: readonly Entry<Asked, Answer>[]
  /** Set where the entries were held up or refused before. */
  readonly isOneAlone: boolean
  readonly answered: () => void
  /** Called with an error that one entry of the batch may have caused; for a single entry, others hold it up. */
  readonly failed: (error: unknown) => void
  /** Called when the entries have failed for good and each has been answered. */
  readonly lost: () => void
}

/** Takes the next batch: entries that are no suspects, together or one by one; after them one suspect at a time. */
function take<Asked, Answer>(trouble: Trouble<Asked, Answer>): readonly Entry<Asked, Answer>[] {
  const fresh = trouble.entries.filter(({ isSuspect }) => !isSuspect)
  const most = trouble.goesTogether ? longestBatch : 1
  const batch = fresh.length > 0 ? fresh.slice(0, most) : trouble.entries.slice(0, 1)
  trouble.entries = trouble.entries.filter((entry) => !batch.includes(entry))
  return batch
}

import { detach, messageOf, type Clock, type Logger } from '../core/index.ts'
import type { Transport } from './transport.ts'

const retryMs = 1_000

export interface SubjectSubscriptionsOptions {
  readonly transport: Pick<Transport, 'subscribe' | 'unsubscribe'>
  readonly clock: Clock
  readonly logger: Logger
  /** A subject is heard from now on, and what was sent before was not. */
  readonly onSubscribed: () => void
}

interface Subject {
  /** Channels served in it. */
  wanted: number
  /** Undefined from a request on until it is answered: what became of one that failed is not known. */
  subscribed: boolean | undefined
  busy: boolean
}

/** Keeps the subjects that are heard equal to those that somebody wants, one request per subject at a time. */
export class SubjectSubscriptions {
  readonly #transport: Pick<Transport, 'subscribe' | 'unsubscribe'>
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #onSubscribed: () => void
  readonly #subjects = new Map<string, Subject>()
  #closed = false

  constructor(options: SubjectSubscriptionsOptions) {
    this.#transport = options.transport
    this.#clock = options.clock
    this.#logger = options.logger
    this.#onSubscribed = options.onSubscribed
  }

  want(subject: string): void {
    this.#add(subject, 1)
  }

  unwant(subject: string): void {
    const entry = this.#subjects.get(subject)
    if (entry === undefined || entry.wanted === 0) return
    entry.wanted--
    this.#reconcileSoon(subject, entry)
  }

  /** Replaces every subject that is wanted by another one. */
  rename(nameOf: (subject: string) => string): void {
    const before = [...this.#subjects]
    for (const [subject, entry] of before) {
      const { wanted } = entry
      entry.wanted = 0
      this.#reconcileSoon(subject, entry)
      if (wanted > 0) this.#add(nameOf(subject), wanted)
    }
  }

  close(): void {
    this.#closed = true
  }

  #add(subject: string, count: number): void {
    const entry = this.#subjects.get(subject) ?? { wanted: 0, subscribed: false, busy: false }
    this.#subjects.set(subject, entry)
    entry.wanted += count
    this.#reconcileSoon(subject, entry)
  }

  #reconcileSoon(subject: string, entry: Subject): void {
    detach(this.#reconcile(subject, entry), this.#logger, 'a subscription of the bus')
  }

  async #reconcile(subject: string, entry: Subject): Promise<void> {
    if (entry.busy) return
    entry.busy = true
    try {
      while (!this.#closed && entry.subscribed !== entry.wanted > 0) {
        const isWanted = entry.wanted > 0
        entry.subscribed = undefined
        await (isWanted ? this.#transport.subscribe(subject) : this.#transport.unsubscribe(subject))
        entry.subscribed = isWanted
        if (isWanted) this.#onSubscribed()
      }
      // A retry may come after it was given up, and another was made of the same name.
      if (entry.wanted === 0 && this.#subjects.get(subject) === entry) this.#subjects.delete(subject)
    } catch (error) {
      if (this.#closed) return
      this.#logger.warn(
        { subject, error: messageOf(error) },
        'the bus did not take a subscription; trying again',
      )
      this.#clock.after(retryMs, () => this.#reconcileSoon(subject, entry))
    } finally {
      entry.busy = false
    }
  }
}

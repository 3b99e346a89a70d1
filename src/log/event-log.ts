import { mutationPoint } from '../protocol/mutation-point.ts'
import { LockstepError, type Queryable } from '../core/index.ts'
import { readEvents, readHeads, toEventRow, toHeads, type Heads } from '../postgres/index.ts'
import { eventBounds } from './bounds.ts'
import { UnwatchedHistory, type LogHistory } from './log-history.ts'
import type { LogReader } from './log.ts'
import { LogTrouble } from './log-trouble.ts'
import { bytesOfEvent, type StoredEvent } from './stored-event.ts'

export interface EventLogOptions {
  /** Bytes of data from which on a page of the log ends. Default 512 KiB. */
  readonly pageBytes?: number
}

/** Stands for the heads of all channels, beside the names of channels. */
const allHeads = ''

/**
 * Reads the durable log, of one history at a time: what was asked of the one before is no answer. Questions for heads that come in one turn of the loop share one statement. */
export class EventLog implements LogReader {
  readonly history: LogHistory
  readonly #own: Queryable
  readonly #schema: string
  readonly #pageBytes: number
  readonly #trouble = new LogTrouble()
  #asked: Set<string> | undefined
  #answer: Promise<Heads> | undefined

  constructor(
    own: Queryable,
    schema: string,
    history: LogHistory = new UnwatchedHistory(),
    { pageBytes = eventBounds.pageBytes }: EventLogOptions = {},
  ) {
    this.#own = own
    this.#schema = schema
    this.#pageBytes = pageBytes
    this.history = history
  }

  /**
   * A page: at most `limit` events, fewer where those reach `pageBytes`, and none only where there is none.
   * @throws LS_CONNECTION_LOST when the history was replaced meanwhile; retryable database errors
   */
  async readAfter(channel: string, offset: number, limit: number): Promise<readonly StoredEvent[]> {
    const { epoch } = this.history
    return this.#watched({ channel, offset }, async () => {
      const page = {
        after: offset,
        limit,
        maxBytes: mutationPoint('page of the log loses an event at its edge') ? 1 : this.#pageBytes,
      }
      const { rows } = await this.#own.query(readEvents(this.#schema, channel, page))
      this.#assertSame(epoch)
      return rows.map((row) => ({ channel, ...toEventRow(row) }))
    })
  }

  /**
   * The events in (from, to], in as many pages as they need; fewer where the log does not have them all. Undefined, and not
   * read to the end, where they are more than `maxBytes`.
   * @throws as `readAfter`
   */
  async readBetween(
    channel: string,
    from: number,
    to: number,
    maxBytes: number,
  ): Promise<readonly StoredEvent[] | undefined> {
    const { epoch } = this.history
    const events: StoredEvent[] = []
    let bytes = 0
    for (let after = from; after < to;) {
      const page = await this.readAfter(channel, after, to - after)
      this.#assertSame(epoch)
      for (const event of page) {
        events.push(event)
        bytes += bytesOfEvent(event)
      }
      if (bytes > maxBytes) return undefined
      const last = page.at(-1)
      if (last === undefined) return events
      after = mutationPoint('page of the log loses an event at its edge') ? last.offset + 1 : last.offset
    }
    return events
  }

  /** The channel's head as it is at some moment after this call. */
  async headOf(channel: string): Promise<{ readonly head: number; readonly epoch: string }> {
    const { heads, epoch } = await this.#collect(channel)
    return { head: heads.get(channel) ?? 0, epoch }
  }

  /** @throws as `readAfter` */
  async headsOf(channels: readonly string[]): Promise<Heads> {
    const { epoch: known } = this.history
    return this.#watched({ channel: allHeads, offset: 0 }, async () => {
      const { rows } = await this.#own.query(readHeads(this.#schema, channels))
      const heads = toHeads(rows)
      this.history.heard(heads.epoch, known)
      this.#assertSame(heads.epoch)
      return heads
    })
  }

  /** How long something could not be read by now, in milliseconds; 0 while all can. */
  get unreadableMs(): number {
    return this.#trouble.longestMs
  }

  /**
   * Tries again what could not be read, up to the first failure: subscribers who were sent away may not come back to ask, and
   * the trouble would seem to last.
   */
  async retryUnreadable(): Promise<void> {
    for (const { channel, offset } of this.#trouble.all) {
      await (channel === allHeads ? this.headsOf([]) : this.readAfter(channel, offset, 1))
    }
  }

  async #watched<T>(
    { channel, offset }: { readonly channel: string; readonly offset: number },
    read: () => Promise<T>,
  ): Promise<T> {
    try {
      const found = await read()
      this.#trouble.over(channel)
      return found
    } catch (error) {
      this.#trouble.met(channel, offset)
      throw error
    }
  }

  #assertSame(epoch: string): void {
    if (epoch === this.history.epoch) return
    throw new LockstepError('LS_CONNECTION_LOST', {
      message: 'The history of the database was replaced while it was read.',
    })
  }

  #collect(channel: string): Promise<Heads> {
    if (this.#asked !== undefined && this.#answer !== undefined) {
      this.#asked.add(channel)
      return this.#answer
    }
    const asked = new Set([channel])
    this.#asked = asked
    this.#answer = new Promise<void>((resolve) => setImmediate(resolve)).then(() => {
      // Ask again for later callers: the answer to this question may be older than theirs.
      this.#asked = undefined
      this.#answer = undefined
      return this.headsOf([...asked])
    })
    return this.#answer
  }
}

import { messageOf, type Clock, type Logger, type Queryable, type Statement } from '../core/index.ts'

/** A table whose expired rows can be removed page by page. */
export interface SweptTable {
  /** Heap pages, to know where the sweep ends. */
  readonly pages: () => Statement
  readonly trim: (firstPage: number, pages: number) => Statement
}

export interface RetentionOptions {
  readonly own: Queryable
  readonly clock: Clock
  readonly logger: Logger
  readonly tables: readonly SweptTable[]
  /** Time between two steps of a sweep. Default 1,000. */
  readonly stepMs?: number
  /** Heap pages of 8 KiB that one step reads. Default 256. */
  readonly pagesPerStep?: number
}

/**
 * Removes what is older than its time by walking over the tables' pages, a few at each step, round and round. It
 * needs no index on the time, so keeping history costs nothing when events are written.
 */
export class Retention {
  readonly #options: RetentionOptions
  #table = 0
  #page = 0
  #cancelTimer: (() => void) | undefined
  #stepping: Promise<unknown> = Promise.resolve()
  #closed = false

  constructor(options: RetentionOptions) {
    this.#options = options
  }

  start(): void {
    this.#schedule()
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#cancelTimer?.()
    await this.#stepping
  }

  /** One step: some pages of one table. @returns whether the walk is at the end of a round over all tables */
  async step(): Promise<boolean> {
    const { own, tables, pagesPerStep = 256 } = this.#options
    const table = tables[this.#table]
    if (table === undefined) return true
    const { rows } = await own.query<{ pages: number }>(table.pages())
    await own.query(table.trim(this.#page, pagesPerStep))
    this.#page += pagesPerStep
    if (this.#page < (rows[0]?.pages ?? 0)) return false
    this.#page = 0
    this.#table = (this.#table + 1) % tables.length
    return this.#table === 0
  }

  #schedule(): void {
    if (this.#closed) return
    this.#cancelTimer = this.#options.clock.after(this.#options.stepMs ?? 1_000, () => {
      this.#stepping = this.step()
        .catch((error: unknown) => {
          this.#options.logger.warn({ error: messageOf(error) }, 'expired history was not removed this time')
        })
        .finally(() => this.#schedule())
    })
  }
}

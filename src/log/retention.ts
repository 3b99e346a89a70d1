import { messageOf, Repeat, type Clock, type Logger, type Queryable, type Statement } from '../core/index.ts'

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
  readonly #own: Queryable
  readonly #tables: readonly SweptTable[]
  readonly #pagesPerStep: number
  #table = 0
  #page = 0
  readonly #steps: Repeat

  constructor(options: RetentionOptions) {
    this.#own = options.own
    this.#tables = options.tables
    this.#pagesPerStep = options.pagesPerStep ?? 256
    const { clock, logger, stepMs = 1_000 } = options
    this.#steps = new Repeat({
      clock,
      everyMs: stepMs,
      work: async () => void (await this.step()),
      onError: (error) =>
        logger.warn({ error: messageOf(error) }, 'expired history was not removed this time'),
    })
  }

  start(): void {
    this.#steps.start()
  }

  close(): Promise<void> {
    return this.#steps.close()
  }

  /** Deletes from some pages of one table. @returns whether the walk is at the end of a round over all tables */
  async step(): Promise<boolean> {
    const table = this.#tables[this.#table]
    if (table === undefined) return true
    const { rows } = await this.#own.query<{ pages: number }>(table.pages())
    await this.#own.query(table.trim(this.#page, this.#pagesPerStep))
    this.#page += this.#pagesPerStep
    if (this.#page < (rows[0]?.pages ?? 0)) return false
    this.#page = 0
    this.#table = (this.#table + 1) % this.#tables.length
    return this.#table === 0
  }
}

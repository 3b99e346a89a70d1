import type { Queryable } from '../core/index.ts'
import { startOperations, type OperationKey } from '../postgres/index.ts'

interface Waiting {
  readonly key: OperationKey
  readonly resolve: (isNew: boolean) => void
  readonly reject: (error: unknown) => void
}

const maxBatch = 500

/**
 * Writes intents: the durable note that an operation has started. One statement at a time carries all that have
 * come in since the last one, so the cost of an intent falls as the load rises.
 */
export class IntentWriter {
  readonly #own: Queryable
  readonly #schema: string
  #waiting: Waiting[] = []
  #writing = false

  constructor(own: Queryable, schema: string) {
    this.#own = own
    this.#schema = schema
  }

  /**
   * @returns true when the id is new, false when an operation with this id is known already
   * @throws retryable database errors; whether the intent landed is then unknown
   */
  write(key: OperationKey): Promise<boolean> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ key, resolve, reject })
      if (!this.#writing) {
        this.#writing = true
        setImmediate(() => void this.#drain())
      }
    })
  }

  async #drain(): Promise<void> {
    while (this.#waiting.length > 0) {
      // In the order of their ids: two nodes that write the same ids then wait for each other, and do not deadlock.
      const batch = this.#waiting.splice(0, maxBatch).toSorted((a, b) => (a.key.id < b.key.id ? -1 : 1))
      try {
        const statement = startOperations(
          this.#schema,
          batch.map(({ key }) => key),
        )
        const { rows } = await this.#own.query<{ id: string }>(statement)
        const started = new Set(rows.map((row) => row.id))
        for (const { key, resolve } of batch) resolve(started.has(key.id))
      } catch (error) {
        for (const { reject } of batch) reject(error)
      }
    }
    this.#writing = false
  }
}

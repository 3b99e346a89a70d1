import { mutationPoint } from '../../protocol/mutation-point.ts'
import { LockstepError, operationKey, pause, whenSettled } from '../../core/index.ts'
import type { Clock, OperationRef, Queryable } from '../../core/index.ts'
import {
  writeRollbackEvents,
  type PendingEvent,
  type RollbackEvent,
  type RollbackEventRow,
} from '../../postgres/index.ts'

export interface RollbackEventWriterOptions {
  readonly own: Queryable
  readonly schema: string
  readonly clock: Clock
  /**
   * Keep them in memory: the one session of the database belongs to the operation while it runs. Nobody who was shown
   * something outlives the process then, as a server does.
   */
  readonly inMemory: boolean
}

interface Entry {
  readonly event: RollbackEvent
  readonly resolve: (answer: RollbackEventRow['answer'] | undefined) => void
  readonly reject: (error: unknown) => void
}

const maxBatch = 100
const busyRetryMs = 25

/**
 * Writes the events that a settlement appends if it rolls their operation back. One statement at a time carries all that
 * have come in since the last one. The statement writes only while the operation has no outcome, under a lock that whoever
 * settles it takes as well.
 */
export class RollbackEventWriter {
  readonly #own: Queryable
  readonly #schema: string
  readonly #clock: Clock
  readonly #inMemory: boolean
  readonly #kept = new Map<string, Map<string, PendingEvent>>()
  #waiting: Entry[] = []
  #isWriting = false

  constructor({ own, schema, clock, inMemory }: RollbackEventWriterOptions) {
    this.#own = own
    this.#schema = schema
    this.#clock = clock
    this.#inMemory = inMemory
  }

  /**
   * Resolves when the event stands, and will be appended if the operation is rolled back. The intent has to stand before.
   * @throws LS_OPERATION_FENCED when the operation has an outcome, or no intent any more; the reason of the signal; retryable
   * database errors, after which the same event may be written again
   */
  async write(event: RollbackEvent, signal: AbortSignal): Promise<void> {
    if (this.#inMemory) return this.#keep(event)
    for (;;) {
      signal.throwIfAborted()
      const answer = await this.#ask(event)
      if (answer === 'written') return
      if (answer !== 'busy') throw new LockstepError('LS_OPERATION_FENCED')
      await pause(this.#clock, busyRetryMs, signal)
    }
  }

  /** Events of an operation of this process that are kept in memory. */
  keptOf(operation: OperationRef): readonly PendingEvent[] {
    return [...(this.#kept.get(operationKey(operation))?.values() ?? [])]
  }

  /** Lets go of what is kept for an operation that has ended. */
  forget(operation: OperationRef): void {
    this.#kept.delete(operationKey(operation))
  }

  #keep({ operation, part, key, channel, type, data }: RollbackEvent): void {
    const place = operationKey(operation)
    const kept = this.#kept.get(place) ?? new Map<string, PendingEvent>()
    this.#kept.set(place, kept.set(`${part} ${key}`, { channel, type, data }))
  }

  #ask(event: RollbackEvent): Promise<RollbackEventRow['answer'] | undefined> {
    const answered = new Promise<RollbackEventRow['answer'] | undefined>((resolve, reject) => {
      this.#waiting.push({ event, resolve, reject })
    })
    if (!this.#isWriting) {
      this.#isWriting = true
      setImmediate(() => this.#writeNext())
    }
    return mutationPoint('rollback event not waited for') ? Promise.resolve('written') : answered
  }

  #writeNext(): void {
    const batch = this.#waiting.splice(0, maxBatch)
    if (batch.length === 0) {
      this.#isWriting = false
      return
    }
    const statement = writeRollbackEvents(
      this.#schema,
      batch.map(({ event }) => event),
    )
    whenSettled(
      this.#own.query<RollbackEventRow>(statement),
      ({ rows }) => {
        batch.forEach(({ resolve }, index) => resolve(rows[index]?.answer))
        this.#writeNext()
      },
      (error: unknown) => {
        for (const { reject } of batch) reject(error)
        this.#writeNext()
      },
    )
  }
}

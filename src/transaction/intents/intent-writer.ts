import { faultPoint } from '../../core/fault-point.ts'
import {
  detach,
  isSameOperation,
  messageOf,
  Repeat,
  type Clock,
  type Logger,
  type Moment,
  type OperationRef,
  type Queryable,
} from '../../core/index.ts'
import { clearIntents, writeIntents, type OperationKey } from '../../postgres/index.ts'
import { IntentSlots, type Slot } from './intent-slots.ts'
import type { LateCalls } from './late-calls.ts'

export interface IntentWriterOptions {
  readonly own: Queryable
  readonly schema: string
  readonly clock: Clock
  readonly logger: Logger
  readonly late: LateCalls
  /** Milliseconds between two looks for slots that have fallen idle. Default 500. */
  readonly clearMs?: number
}

/** The durable note that an operation has started. */
export interface Intent {
  /**
   * Settles to whether the id is new: false when it has an outcome already.
   * @throws retryable database errors, and whether the intent landed is then unknown; LS_OPERATION_TIMEOUT when it landed
   * too late to be believed
   */
  readonly landed: Promise<boolean>
  /** The outcome stands in the database, so the note is needed no longer. */
  ended(): void
}

interface Entry {
  readonly key: OperationKey
  readonly since: Moment
  resolve: (isNew: boolean) => void
  reject: (error: unknown) => void
  /** Frees the place in the slot once the operation has an outcome; does nothing before the batch is put together. */
  letGo: () => void
  hasEnded: boolean
}

/** A row of so many, with names and ids of the usual length, fits in a page. */
const maxBatch = 50

/**
 * Writes intents. One statement at a time carries all that have come in since the last one, as one row, so the cost
 * of an intent falls as the load rises. The row is written over when all of its operations have ended.
 */
export class IntentWriter {
  readonly #own: Queryable
  readonly #schema: string
  readonly #logger: Logger
  readonly #late: LateCalls
  /** Slots by the node's lease: after a lost lease, operations that began under it have slots of their own. */
  readonly #slots = new Map<string, IntentSlots>()
  #waiting: Entry[] = []
  #batches = 0
  #writing = false
  /** Runs only while there are slots that could be cleared. */
  readonly #clearing: Repeat

  constructor({ own, schema, clock, logger, late, clearMs = 500 }: IntentWriterOptions) {
    this.#own = own
    this.#schema = schema
    this.#logger = logger
    this.#late = late
    this.#clearing = new Repeat({
      clock,
      everyMs: clearMs,
      work: () => this.#clearIdle(),
      onError: (error) => logger.error({ error }, 'idle slots of intents were not cleared'),
    })
  }

  /** @param since when the call may have come at the earliest */
  write(key: OperationKey, since: Moment): Intent {
    const entry: Entry = { key, since, resolve: () => {}, reject: () => {}, letGo: () => {}, hasEnded: false }
    const landed = new Promise<boolean>((resolve, reject) => Object.assign(entry, { resolve, reject }))
    this.#waiting.push(entry)
    if (!this.#writing) {
      this.#writing = true
      setImmediate(() => detach(this.#drain(), this.#logger, 'a batch of intents'))
    }
    return { landed, ended: () => end(entry) }
  }

  /** Removes what this node has noted of operations that have ended; the others are left to who settles them. */
  async close(): Promise<void> {
    await this.#clearing.close()
    for (const [node, slots] of this.#slots) await this.#clear(node, slots, slots.takeFree())
  }

  async #drain(): Promise<void> {
    while (this.#waiting.length > 0) {
      const node = this.#waiting[0]?.key.node ?? ''
      const others = this.#waiting.findIndex(({ key }) => key.node !== node)
      await this.#writeBatch(
        node,
        this.#waiting.splice(0, Math.min(maxBatch, others < 0 ? maxBatch : others)),
      )
    }
    this.#writing = false
  }

  async #writeBatch(node: string, entries: readonly Entry[]): Promise<void> {
    const slots = this.#slotsOf(node)
    const slot = slots.take(entries.length)
    for (const entry of entries) {
      entry.letGo = () => this.#letGo(slots, slot)
      if (entry.hasEnded) entry.letGo()
    }
    try {
      await faultPoint('transaction.before-batch')
      const place = { node, slot: slot.number, batch: ++this.#batches }
      const keys = entries.map(({ key }) => key)
      const { rows } = await this.#own.query<OperationRef>(writeIntents(this.#schema, place, keys))
      await faultPoint('transaction.after-batch')
      for (const entry of entries) {
        // Look for an outcome among the returned rows; nearly always there are none.
        const isKnown = rows.some((row) => isSameOperation(row, entry.key))
        // End the intent of an operation that already has an outcome: another node gave it one, and this node will not.
        if (isKnown) end(entry)
        const tooLate = isKnown ? undefined : this.#late.refusalOf(entry.since)
        if (tooLate === undefined) entry.resolve(!isKnown)
        else entry.reject(tooLate)
      }
    } catch (error) {
      for (const { reject } of entries) reject(error)
    }
    this.#letGo(slots, slot)
  }

  #slotsOf(node: string): IntentSlots {
    const known = this.#slots.get(node)
    if (known !== undefined) return known
    const slots = new IntentSlots()
    this.#slots.set(node, slots)
    return slots
  }

  #letGo(slots: IntentSlots, slot: Slot): void {
    slots.letGo(slot)
    if (slots.freeCount > 0) this.#clearing.start()
  }

  /** Resolves to whether slots are left that could be cleared. */
  async #clearIdle(): Promise<boolean> {
    for (const [node, slots] of this.#slots) {
      await this.#clear(node, slots, slots.takeIdle())
      if (slots.isUnused) this.#slots.delete(node)
    }
    return [...this.#slots.values()].some(({ freeCount }) => freeCount > 0)
  }

  async #clear(node: string, slots: IntentSlots, idle: readonly Slot[]): Promise<void> {
    if (idle.length === 0) return
    const numbers = idle.map(({ number }) => number)
    try {
      await faultPoint('transaction.before-clear')
      await this.#own.query(clearIntents(this.#schema, node, numbers, this.#batches))
      await faultPoint('transaction.after-clear')
      slots.giveBack(idle, true)
    } catch (error) {
      slots.giveBack(idle, false)
      this.#logger.warn(
        { node, error: messageOf(error) },
        'the notes of ended operations were not removed this time',
      )
    }
  }
}

function end(entry: Entry): void {
  if (entry.hasEnded) return
  entry.hasEnded = true
  entry.letGo()
}

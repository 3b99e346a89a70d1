import { mutationPoint } from '../../protocol/mutation-point.ts'

/** A place in the database for the intents of one batch. */
export interface Slot {
  readonly number: number
  /** Operations of its batch that have no outcome yet, and one more while the batch is being written. */
  open: number
  /** Tick in which the last of them ended. */
  freeSince: number
}

/**
 * Tracks which of a node's slots may be overwritten: those whose operations all have an outcome in the database. Knows
 * nothing of statements.
 */
export class IntentSlots {
  /** Slots with a row in the database; the one freed last is used first, so that the others fall idle. */
  #free: Slot[] = []
  /** Numbers below `#next` that have no row. */
  #unused: number[] = []
  #next = 0
  #tick = 0

  /** True when no slot has a row in the database. */
  get isUnused(): boolean {
    return this.#unused.length === this.#next
  }

  /** Slots whose operations have all ended. */
  get freeCount(): number {
    return this.#free.length
  }

  /** A slot for a batch of so many operations, held until each of them, and the writing itself, was let go. */
  take(operations: number): Slot {
    const slot = this.#free.pop() ?? { number: this.#unused.pop() ?? this.#next++, open: 0, freeSince: 0 }
    slot.open = operations + 1
    return slot
  }

  /** Counts an operation of the batch that has an outcome, or the writing of the batch, as done. */
  letGo(slot: Slot): void {
    slot.open -= 1
    if (slot.open > 0 && !mutationPoint('slot written over while an operation of it is open')) return
    slot.freeSince = this.#tick
    this.#free.push(slot)
  }

  /** Slots that have been free since the last time this was asked: they are to be emptied, then given back. */
  takeIdle(): readonly Slot[] {
    const idle = this.#free.filter(({ freeSince }) => freeSince < this.#tick)
    this.#free = this.#free.filter(({ freeSince }) => freeSince === this.#tick)
    this.#tick += 1
    return idle
  }

  /** Takes all free slots, for a node that ends. */
  takeFree(): readonly Slot[] {
    return this.#free.splice(0)
  }

  /** Slots of `takeIdle` again. Whether a statement that failed has emptied them is not known. */
  giveBack(slots: readonly Slot[], wereEmptied: boolean): void {
    if (wereEmptied) this.#unused = this.#unused.concat(slots.map(({ number }) => number))
    else this.#free = slots.concat(this.#free)
  }
}

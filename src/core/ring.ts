/** A place in a {@link Ring}; it knows its neighbours, so that it is taken out at once wherever it stands. */
export class RingEntry<T> {
  readonly value: T
  before: RingEntry<T> = this
  after: RingEntry<T> = this

  constructor(value: T) {
    this.value = value
  }

  /** Takes it out of its ring. */
  leave(): void {
    this.before.after = this.after
    this.after.before = this.before
    this.before = this
    this.after = this
  }
}

/**
 * A list for entries that are added and removed with each operation, in order of arrival. Not a `Set` or a `Map`: V8
 * keeps a trail of the old tables of one that is written to all the time, and through them its garbage collector
 * retains removed entries until a full collection.
 */
export class Ring<T> {
  readonly #anchor = new RingEntry<T | undefined>(undefined)

  add(value: T): RingEntry<T> {
    const entry = new RingEntry(value)
    this.moveToEnd(entry)
    return entry
  }

  /** Puts an entry behind all others, whether or not it is in the ring. */
  moveToEnd(entry: RingEntry<T>): void {
    const anchor = this.#anchor as RingEntry<T>
    if (anchor.before === entry) return
    entry.leave()
    entry.before = anchor.before
    entry.after = anchor
    anchor.before.after = entry
    anchor.before = entry
  }

  /** Entry that has been in the ring longest. */
  get first(): RingEntry<T> | undefined {
    const { after } = this.#anchor
    return after === this.#anchor ? undefined : (after as RingEntry<T>)
  }
}

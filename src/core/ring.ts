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
 * What is added and taken out for each operation, in the order it came. Not a `Set` or a `Map`: V8 leaves a trail of the
 * tables that one which is always written to has had, by which its garbage collector keeps much that has gone until it
 * runs in full.
 */
export class Ring<T> {
  readonly #anchor = new RingEntry<T | undefined>(undefined)

  add(value: T): RingEntry<T> {
    const anchor = this.#anchor as RingEntry<T>
    const entry = new RingEntry(value)
    entry.before = anchor.before
    entry.after = anchor
    anchor.before.after = entry
    anchor.before = entry
    return entry
  }

  /** The one that has been in it longest. */
  get first(): RingEntry<T> | undefined {
    const { after } = this.#anchor
    return after === this.#anchor ? undefined : (after as RingEntry<T>)
  }
}

/** Value that can stand in a {@link FairQueue}. The tag must not change while the value is in the queue. */
export interface Tagged {
  readonly tag: number
}

interface Place<T> {
  readonly value: T
  /** Order of arrival, which decides among equal tags. */
  readonly order: number
}

/** Users who wait, the one with the smallest tag first: a binary heap. */
export class FairQueue<T extends Tagged> {
  readonly #places: Place<T>[] = []
  #order = 0

  get first(): T | undefined {
    return this.#places[0]?.value
  }

  add(value: T): void {
    this.#order += 1
    const place = { value, order: this.#order }
    let index = this.#places.length
    while (index > 0) {
      const above = (index - 1) >> 1
      const other = this.#places[above] as Place<T>
      if (isBefore(other, place)) break
      this.#places[index] = other
      index = above
    }
    this.#places[index] = place
  }

  /** Takes out the first. */
  shift(): void {
    const last = this.#places.pop()
    const { length } = this.#places
    if (last === undefined || length === 0) return
    let index = 0
    for (let below = 1; below < length; below = 2 * index + 1) {
      const right = this.#places[below + 1]
      if (right !== undefined && isBefore(right, this.#places[below] as Place<T>)) below += 1
      const next = this.#places[below] as Place<T>
      if (isBefore(last, next)) break
      this.#places[index] = next
      index = below
    }
    this.#places[index] = last
  }
}

function isBefore<T extends Tagged>(one: Place<T>, other: Place<T>): boolean {
  const { tag } = one.value
  return tag < other.value.tag || (tag === other.value.tag && one.order < other.order)
}

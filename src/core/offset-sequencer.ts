/** Anything that has a place in a channel. */
export interface Placed {
  readonly offset: number
}

/**
 * Puts what arrives out of order, twice, or with holes into offset order, each once. Pure: it says what may go
 * out now and what is missing; its owner decides how long to wait and where to read.
 */
export class OffsetSequencer<Item extends Placed> {
  #position: number
  /** Made when something waits: in most channels nothing ever does. */
  #waiting: Map<number, Item> | undefined
  #highest: number

  /** @param position the last offset that has gone out already */
  constructor(position: number) {
    this.#position = position
    this.#highest = position
  }

  /** Last offset that went out. */
  get position(): number {
    return this.#position
  }

  /** True while something is known to exist beyond what could go out. */
  get hasGap(): boolean {
    return this.#highest > this.#position
  }

  /** Takes one item and gives back the run that may go out now, often just this item. */
  accept(item: Item): readonly Item[] {
    if (item.offset <= this.#position) return []
    if (item.offset === this.#position + 1 && (this.#waiting?.size ?? 0) === 0) {
      this.#position = item.offset
      this.#highest = Math.max(this.#highest, item.offset)
      return [item]
    }
    this.#waiting ??= new Map()
    this.#waiting.set(item.offset, item)
    this.#highest = Math.max(this.#highest, item.offset)
    return this.#release(this.#waiting)
  }

  /** Learns that the channel has reached an offset, without the items themselves. */
  expect(offset: number): void {
    this.#highest = Math.max(this.#highest, offset)
  }

  /** Gives up what is missing and what waits behind it: the next item to go out is the one after `position`. */
  restart(position: number): void {
    this.#position = position
    this.#highest = position
    this.#waiting = undefined
  }

  #release(waiting: Map<number, Item>): readonly Item[] {
    const run: Item[] = []
    for (;;) {
      const next = waiting.get(this.#position + 1)
      if (next === undefined) return run
      waiting.delete(next.offset)
      this.#position = next.offset
      run.push(next)
    }
  }
}

/** True when the items follow each other without a hole, starting right after `position`. */
export function followsOn(position: number, items: readonly Placed[]): boolean {
  return items.every((item, index) => item.offset === position + 1 + index)
}

import { mutationPoint } from '../protocol/mutation-point.ts'

/** An item that has a place in a channel. */
export interface Placed {
  readonly offset: number
  /** Bytes that an item takes in memory. Default 0. */
  readonly bytes?: number
}

/** How much may wait behind what is missing. */
export interface WaitingBounds {
  /** Offsets behind the position. */
  readonly maxAhead: number
  readonly maxBytes: number
}

const unbounded: WaitingBounds = { maxAhead: Infinity, maxBytes: Infinity }

/**
 * Puts what arrives out of order, twice, or with holes into offset order, each once. Pure: it says what may go
 * out now and what is missing; its owner decides how long to wait and where to read.
 */
export class OffsetSequencer<Item extends Placed> {
  #position: number
  /** Items that wait for an earlier one. Created when the first has to wait, which in most channels never happens. */
  #waiting: Map<number, Item> | undefined
  #waitingBytes = 0
  #highest: number
  readonly #bounds: WaitingBounds

  /**
   * @param position the last offset that has gone out already
   * @param bounds an item beyond them is only remembered as missing. Default: none
   */
  constructor(position: number, bounds = unbounded) {
    this.#bounds = bounds
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
    const isNext = item.offset === this.#position + 1 && (this.#waiting?.size ?? 0) === 0
    if (isNext || mutationPoint('gap skipped')) {
      this.#position = item.offset
      this.#highest = Math.max(this.#highest, item.offset)
      return [item]
    }
    this.#highest = Math.max(this.#highest, item.offset)
    this.#waiting ??= new Map()
    if (!this.#hasRoomFor(item)) return []
    this.#forget(this.#waiting, item.offset)
    this.#waiting.set(item.offset, item)
    this.#waitingBytes += item.bytes ?? 0
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
    this.#waitingBytes = 0
  }

  /** True when an item may be kept; the next one always, because it waits for nothing. */
  #hasRoomFor({ offset, bytes = 0 }: Item): boolean {
    const { maxAhead, maxBytes } = this.#bounds
    if (offset === this.#position + 1) return true
    return offset <= this.#position + maxAhead && this.#waitingBytes + bytes <= maxBytes
  }

  #forget(waiting: Map<number, Item>, offset: number): Item | undefined {
    const item = waiting.get(offset)
    if (item === undefined) return undefined
    waiting.delete(offset)
    this.#waitingBytes -= item.bytes ?? 0
    return item
  }

  #release(waiting: Map<number, Item>): readonly Item[] {
    const run: Item[] = []
    for (;;) {
      const next = this.#forget(waiting, this.#position + 1)
      if (next === undefined) return run
      this.#position = next.offset
      run.push(next)
    }
  }
}

/** True when the items follow each other without a hole, starting right after `position`. */
export function followsOn(position: number, items: readonly Placed[]): boolean {
  return items.every((item, index) => item.offset === position + 1 + index)
}

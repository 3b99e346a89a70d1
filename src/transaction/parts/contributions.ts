import { LockstepError } from '../../core/index.ts'

/** A part's contributions to an operation, which can be cut back with a savepoint. */
export interface Cuttable {
  /** A place after all that was contributed so far. Places are never given twice. */
  mark(): number
  /** Takes back what was contributed between two places. */
  cut(from: number, until: number): void
}

/** A list of contributions, in their order. Until the first mark is asked for, it is an array and no more. */
export class Contributions<T> implements Cuttable {
  #items: T[] = []
  /** Place of each item, where marks have been asked for. */
  #places: number[] | undefined
  #next = 0
  readonly #bytesOf: (item: T) => number
  #bytes = 0
  #isClosed = false

  constructor(bytesOf: (item: T) => number = () => 0) {
    this.#bytesOf = bytesOf
  }

  get items(): readonly T[] {
    return this.#items
  }

  /** Bytes of all items together. */
  get bytes(): number {
    return this.#bytes
  }

  /** @throws LS_TRANSACTION_CLOSED once the operation's code has ended */
  add(item: T): void {
    if (this.#isClosed) throw new LockstepError('LS_TRANSACTION_CLOSED')
    this.#items.push(item)
    this.#bytes += this.#bytesOf(item)
    this.#places?.push(this.#next++)
  }

  mark(): number {
    if (this.#places === undefined) {
      this.#places = this.#items.map((_, index) => index)
      this.#next = this.#items.length
    }
    return this.#next
  }

  cut(from: number, until: number): void {
    const places = this.#places ?? []
    const isKept = (place: number): boolean => place < from || place >= until
    this.#items = this.#items.filter((_, index) => isKept(places[index] ?? 0))
    this.#places = places.filter(isKept)
    this.#bytes = this.#items.reduce((bytes, item) => bytes + this.#bytesOf(item), 0)
  }

  /** Takes nothing more. */
  close(): void {
    this.#isClosed = true
  }

  /** Takes back all of them. */
  clear(): void {
    this.cut(0, this.mark())
  }
}

import { Ring, type RingEntry } from '../core/index.ts'

/** An object that can let go of all the events it holds. */
export interface Forgetful {
  forget(): void
}

/**
 * The bytes that the recent events of a node's channels take. Beyond the bound, the channels in which nothing has happened
 * for longest forget theirs; whoever asks for those reads the log.
 */
export class RecentMemory {
  readonly #maxBytes: number
  readonly #owners = new Ring<Forgetful>()
  #bytes = 0

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  get bytes(): number {
    return this.#bytes
  }

  enter(owner: Forgetful): RingEntry<Forgetful> {
    return this.#owners.add(owner)
  }

  /** The owner holds so many bytes more. May make others forget, and the owner itself, once it has nobody before it. */
  grew(owner: RingEntry<Forgetful>, bytes: number): void {
    this.#bytes += bytes
    this.#owners.moveToEnd(owner)
    while (this.#bytes > this.#maxBytes) {
      const { first } = this.#owners
      if (first === undefined) return
      first.leave()
      first.value.forget()
    }
  }

  shrank(bytes: number): void {
    this.#bytes -= bytes
  }
}

/** Which history the log holds: what its readers ask, and what they find out. `EpochWatch` is the node's. */
export interface LogHistory {
  /** Empty before any is known. */
  readonly epoch: string
  /** An answer of the database named its epoch. `known` is the epoch here when it was asked. @throws for one that was left */
  heard(epoch: string, known: string): void
  /** What was seen of the log is not in it any more. */
  replaced(reason: string): void
  onChange(changed: () => void): void
}

/** The history of a log that nobody else watches: knows what its answers say. */
export class UnwatchedHistory implements LogHistory {
  readonly #listeners: (() => void)[] = []
  #epoch = ''

  get epoch(): string {
    return this.#epoch
  }

  heard(epoch: string, known: string): void {
    if (epoch === this.#epoch || known !== this.#epoch) return
    this.#epoch = epoch
    if (known !== '') this.replaced()
  }

  replaced(): void {
    for (const changed of this.#listeners) changed()
  }

  onChange(changed: () => void): void {
    this.#listeners.push(changed)
  }
}

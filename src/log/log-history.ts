/**
 * The history that the log holds: questions of its readers, and their findings. `EpochWatch` implements it for the
 * node.
 */
export interface LogHistory {
  /** Empty before any is known. */
  readonly epoch: string
  /** An answer of the database named its epoch. `known` is the epoch here when it was asked. @throws for one that was left */
  heard(epoch: string, known: string): void
  /** Reports that the log lacks events which were already seen. */
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

const remembered = 1_000

/** The last thousand ids that were added. */
export class RecentIds {
  readonly #ids = new Set<string>()

  has(id: string): boolean {
    return this.#ids.has(id)
  }

  add(id: string): void {
    this.#ids.add(id)
    const [oldest] = this.#ids
    if (this.#ids.size > remembered && oldest !== undefined) this.#ids.delete(oldest)
  }
}

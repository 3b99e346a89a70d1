/** Remembers the last ids given to it, between one and two times `generation` of them, at a constant cost each. */
export class DedupWindow {
  readonly #generation: number
  #young = new Set<string>()
  #old = new Set<string>()

  constructor(generation: number) {
    this.#generation = generation
  }

  /** False when it was there. */
  add(id: string): boolean {
    if (this.#young.has(id) || this.#old.has(id)) return false
    this.#young.add(id)
    if (this.#young.size >= this.#generation) {
      this.#old = this.#young
      this.#young = new Set()
    }
    return true
  }
}

/** An answer costs its user one command more for so many characters: a node spends more on it than on most calls. */
const lengthOfCommand = 32 * 1024
/** How much of what is expected of a method stays when an answer was shorter. */
const keptShare = 0.9

/** Costs of answers beside the call itself, in commands, and those to be expected of a method. */
export class AnswerCosts {
  /** Cost by method, of those methods only that gave a long answer lately. */
  readonly #expected = new Map<string, number>()

  expected(method: string): number {
    return Math.floor(this.#expected.get(method) ?? 0)
  }

  /** @returns the cost of this answer */
  note(method: string, length: number): number {
    const cost = Math.floor(length / lengthOfCommand)
    const before = this.#expected.get(method)
    if (cost === 0 && before === undefined) return 0
    const now = Math.max(cost, keptShare * (before ?? 0))
    if (now < 1) this.#expected.delete(method)
    else this.#expected.set(method, now)
    return cost
  }
}

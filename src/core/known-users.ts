import { Line } from './admission-line.ts'

/** Users that are remembered although nothing of theirs is open. */
const fewestRemembered = 1_000

/** Users who have something open, and those of whom something is known. */
export class KnownUsers {
  readonly #lines = new Map<string, Line>()
  #rememberAtMost = fewestRemembered

  /** @param meanMs how long work on the node takes, which is taken to be that of a stranger */
  lineOf(userId: string, meanMs: number): Line {
    const known = this.#lines.get(userId)
    if (known !== undefined) return known
    if (this.#lines.size >= this.#rememberAtMost) this.#forget()
    const line = new Line(meanMs)
    this.#lines.set(userId, line)
    return line
  }

  #forget(): void {
    for (const [userId, line] of this.#lines) if (line.open === 0) this.#lines.delete(userId)
    this.#rememberAtMost = Math.max(fewestRemembered, 2 * this.#lines.size)
  }
}

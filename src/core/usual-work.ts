import type { Line } from './admission-line.ts'

/** A user is slow whose work usually holds a slot this much longer than that of others on this node… */
const slowFactor = 8
/** … and longer than this, in milliseconds. */
const slowAtLeastMs = 100
/** A user who held less than this of a slot, on average, lately, is never slow: an honest call may take long now and then. */
const slowLoad = 0.01
/** Assumed duration of work before any was measured, in milliseconds. */
const atFirstMs = 10
/** How far one measurement moves what is typical of users. */
const typicalStep = 1.1
/** How far one measurement moves the mean. */
const meanShare = 0.02

/** How long work holds a slot on this node, and whose work takes far longer. */
export class UsualWork {
  /** Running median of the usual durations of all users. */
  #typicalMs = atFirstMs
  #meanMs = atFirstMs

  /** How long work of users who are not slow holds a slot, on average. */
  get meanMs(): number {
    return this.#meanMs
  }

  get slowFromMs(): number {
    return Math.max(slowAtLeastMs, slowFactor * this.#typicalMs)
  }

  /** True also for a user without any measurement, from the second slot on. */
  isSlow(line: Line, now: number): boolean {
    if (line.usualMs === undefined) return line.held > 0
    if (line.aged > 0) return true
    return line.usualMs > this.slowFromMs && line.load(now) > slowLoad
  }

  /**
   * The median is of what is usual with each user, and not of single turns: a machine that stands still for a moment makes
   * the work of all users take long at once, and then none of them is slow.
   */
  observe(usualMs: number, heldMs: number, isSlow: boolean): void {
    this.#typicalMs =
      usualMs > this.#typicalMs ? this.#typicalMs * typicalStep : this.#typicalMs / typicalStep
    if (!isSlow) this.#meanMs += meanShare * (heldMs - this.#meanMs)
  }
}

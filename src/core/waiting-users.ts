import type { Line } from './admission-line.ts'
import { FairQueue } from './fair-queue.ts'

export interface WaitingUsersOptions {
  readonly isSlow: (line: Line, now: number) => boolean
  /** Whether a user may be given a slot that is free. */
  readonly mayHold: (line: Line, now: number) => boolean
  /** Slow users who are looked at in one search: no more of them than there are slots can hold too much. */
  readonly mostPassed: number
}

/** Users who wait for a slot, by their tag. Slow ones stand apart, since many of them may have to wait for each other. */
export class WaitingUsers {
  readonly #isSlow: (line: Line, now: number) => boolean
  readonly #mayHold: (line: Line, now: number) => boolean
  readonly #mostPassed: number
  readonly #quick = new FairQueue<Line>()
  readonly #slow = new FairQueue<Line>()

  constructor(options: WaitingUsersOptions) {
    this.#isSlow = options.isSlow
    this.#mayHold = options.mayHold
    this.#mostPassed = options.mostPassed
  }

  /** Adds a user, unless their place of before is still there. */
  add(line: Line, tag: number, now: number): void {
    if (line.isQueued) return
    line.isQueued = true
    line.tag = tag
    this.#queueOf(line, now).add(line)
  }

  /** Takes out the user whose turn it is. */
  next(now: number): Line | undefined {
    const slow = this.#nextSlow(now)
    const quick = this.#firstOf(this.#quick, now)
    const isQuick = quick !== undefined && this.#mayHold(quick, now) && quick.tag <= (slow?.tag ?? Infinity)
    if (isQuick) this.#quick.shift()
    if (isQuick && slow !== undefined) this.#slow.add(slow)
    // Slow users may only just have been found among the quick.
    const next = isQuick ? quick : (slow ?? this.#nextSlow(now))
    if (next !== undefined) next.isQueued = false
    return next
  }

  #queueOf(line: Line, now: number): FairQueue<Line> {
    return this.#isSlow(line, now) ? this.#slow : this.#quick
  }

  /** Takes out the next slow user who may hold another slot. */
  #nextSlow(now: number): Line | undefined {
    const passed: Line[] = []
    let next: Line | undefined
    while (next === undefined && passed.length <= this.#mostPassed) {
      const line = this.#firstOf(this.#slow, now)
      if (line === undefined) break
      this.#slow.shift()
      if (this.#mayHold(line, now)) next = line
      else passed.push(line)
    }
    for (const line of passed) this.#slow.add(line)
    return next
  }

  /** Finds the first user in a queue who still waits, and still belongs there. */
  #firstOf(queue: FairQueue<Line>, now: number): Line | undefined {
    for (let { first } = queue; first !== undefined; { first } = queue) {
      const other = this.#queueOf(first, now)
      if (first.waitingCount > 0 && other === queue) return first
      queue.shift()
      if (first.waitingCount === 0) first.isQueued = false
      else other.add(first)
    }
    return undefined
  }
}

import { Line, Turn, type TurnHost } from './admission-line.ts'
import type { Clock } from './clock.ts'
import { LockstepError } from './errors.ts'
import { Ring } from './ring.ts'

export type { Turn } from './admission-line.ts'

export interface AdmissionOptions {
  readonly clock: Clock
  /** What may hold a slot at once: the connections of the pool. */
  readonly slots: number
  /** What may be open at once, whoever asked for it. Default 10,000. */
  readonly maxOpen?: number | undefined
  /** What one user may have open at once. Default 1,000. */
  readonly maxOpenPerUser?: number | undefined
  /** The longest wait for a slot, in milliseconds. Default 5,000. */
  readonly maxWaitMs?: number | undefined
}

/** A user is slow whose work holds a slot this much longer than work on this node typically does… */
const slowFactor = 8
/** … and longer than this, in milliseconds. */
const slowAtLeastMs = 100
/** A user who held less than this of a slot, on average, lately, is never slow: an honest call may take long now and then. */
const slowLoad = 0.01
/** A user who held no more than this, on average, lately, is light. */
const lightLoad = 0.2
/** What work is taken to last before anything was measured, in milliseconds. */
const typicalAtFirstMs = 10
/** How far one measurement moves what is typical. */
const typicalStep = 1.05
/** Users that are remembered although nothing of theirs is open. */
const fewestRemembered = 1_000
const shortestRetryMs = 100
const longestRetryMs = 10_000

/**
 * Decides whose turn it is for one of few slots. A free slot is given at once. Where none is free, users take turns, each
 * with what they asked for first; users who hold nothing have a rotation of their own, so that they need not wait for a
 * whole round of those who always want more. Work cannot be stopped once it holds a slot: users whose work takes long get
 * no more than half of the slots, all together. What could not be served in time is refused when it is asked for.
 */
export class Admission implements TurnHost {
  readonly #clock: Clock
  readonly #slots: number
  readonly #mostSlow: number
  readonly #maxOpen: number
  readonly #maxOpenPerUser: number
  readonly #maxWaitMs: number
  readonly #lines = new Map<string, Line>()
  /** Turns that hold a slot and do not count as slow, the oldest first. */
  readonly #running = new Ring<Turn>()
  /** Turns that wait for a slot, the oldest first. */
  readonly #waiting = new Ring<Turn>()
  /** Users who hold nothing, users who were served, users who are slow. */
  readonly #rotations = [new Ring<Line>(), new Ring<Line>(), new Ring<Line>()] as const
  /** Index of the rotation that was served last. */
  #rotation = 2
  #free: number
  #slowHeld = 0
  #open = 0
  #waitingCount = 0
  #waitingLines = 0
  #refused = 0
  #typicalMs = typicalAtFirstMs
  #rememberAtMost = fewestRemembered
  #cancelTimer: (() => void) | undefined

  constructor({
    clock,
    slots,
    maxOpen = 10_000,
    maxOpenPerUser = 1_000,
    maxWaitMs = 5_000,
  }: AdmissionOptions) {
    this.#clock = clock
    this.#slots = slots
    this.#free = slots
    this.#mostSlow = Math.ceil(slots / 2)
    this.#maxOpen = maxOpen
    this.#maxOpenPerUser = maxOpenPerUser
    this.#maxWaitMs = maxWaitMs
  }

  /** How many wait for a slot. */
  get waiting(): number {
    return this.#waitingCount
  }

  /** How many were refused since the start. */
  get refused(): number {
    return this.#refused
  }

  /** @throws LS_NODE_OVERLOADED, with `retryAfterMs` among its details */
  ask(userId: string): Turn {
    const line = this.#lineOf(userId)
    const now = this.#clock.monotonic()
    this.#age(now)
    // A user may have as many open as are left for others, so users with many leave room to users with few.
    const most = Math.min(this.#maxOpenPerUser, this.#maxOpen - this.#open)
    if (line.open >= Math.max(1, most) || this.#open >= this.#maxOpen) throw this.#refusal(line)
    const isFree = this.#free > 0 && line.waitingCount === 0 && this.#mayHold(line)
    // The first that a user waits for is never refused: it is served in turn, however long the others' queues are.
    if (!isFree && line.waitingCount > 0 && this.#waitOf(line) > this.#maxWaitMs) throw this.#refusal(line)
    const turn = new Turn(this, line, now)
    line.open += 1
    this.#open += 1
    if (isFree) this.#hold(turn, now)
    else this.#wait(turn)
    return turn
  }

  /** Waits for a slot, does the work and gives the slot back. @throws as `ask`, and what the work throws */
  async run<T>(userId: string, work: () => Promise<T>): Promise<T> {
    const turn = this.ask(userId)
    try {
      if (turn.granted !== undefined) await turn.granted
      return await work()
    } finally {
      turn.end()
    }
  }

  release(turn: Turn): void {
    if (turn.state === 'waiting') this.#withdraw(turn)
    else if (turn.state === 'held') this.#giveBack(turn)
  }

  end(turn: Turn): void {
    if (turn.state === 'ended') return
    this.release(turn)
    turn.state = 'ended'
    turn.line.open -= 1
    this.#open -= 1
  }

  /** Refuses all that waits. */
  refuseWaiting(error: unknown): void {
    for (let { first } = this.#waiting; first !== undefined; { first } = this.#waiting)
      this.#refuse(first.value, error)
  }

  #lineOf(userId: string): Line {
    const known = this.#lines.get(userId)
    if (known !== undefined) return known
    if (this.#lines.size >= this.#rememberAtMost) this.#forget()
    const line = new Line()
    this.#lines.set(userId, line)
    return line
  }

  #forget(): void {
    for (const [userId, line] of this.#lines) if (line.open === 0) this.#lines.delete(userId)
    this.#rememberAtMost = Math.max(fewestRemembered, 2 * this.#lines.size)
  }

  get #slowFromMs(): number {
    return Math.max(slowAtLeastMs, slowFactor * this.#typicalMs)
  }

  /** Also a user of whom nothing is known yet, from the second slot on. */
  #isSlow(line: Line): boolean {
    if (line.usualMs === undefined) return line.held > 0
    if (line.aged > 0) return true
    return line.usualMs > this.#slowFromMs && line.load(this.#clock.monotonic()) > slowLoad
  }

  /**
   * A slow user has about as many as are left for other slow ones. One that has held little lately, of whom a single call
   * may have been slow by chance, gets a first one while others are free.
   */
  #mayHold(line: Line): boolean {
    if (!this.#isSlow(line)) return true
    if (this.#slowHeld < this.#mostSlow && line.slow <= this.#mostSlow - this.#slowHeld) return true
    return line.held === 0 && this.#free > 1 && line.load(this.#clock.monotonic()) <= lightLoad
  }

  /** Counts what has run for long as slow. */
  #age(now: number): void {
    const slowFromMs = this.#slowFromMs
    for (let { first } = this.#running; first !== undefined; { first } = this.#running) {
      const turn = first.value
      if (now - turn.since <= slowFromMs) return
      first.leave()
      turn.running = undefined
      turn.hasAged = true
      turn.line.aged += 1
      this.#countSlow(turn)
    }
  }

  #countSlow(turn: Turn): void {
    turn.isSlow = true
    turn.line.slow += 1
    this.#slowHeld += 1
  }

  #hold(turn: Turn, now: number): void {
    const { line } = turn
    turn.state = 'held'
    turn.since = now
    if (this.#isSlow(line)) this.#countSlow(turn)
    else turn.running = this.#running.add(turn)
    line.held += 1
    this.#free -= 1
  }

  #giveBack(turn: Turn): void {
    const { line } = turn
    const now = this.#clock.monotonic()
    const heldMs = now - turn.since
    turn.state = 'released'
    turn.running?.leave()
    if (turn.isSlow) {
      line.slow -= 1
      this.#slowHeld -= 1
    }
    if (turn.hasAged) line.aged -= 1
    line.held -= 1
    line.observe(heldMs, now)
    // A running median: one that took long moves it no further than one that took a little longer.
    this.#typicalMs = heldMs > this.#typicalMs ? this.#typicalMs * typicalStep : this.#typicalMs / typicalStep
    this.#free += 1
    if (this.#waitingCount > 0) this.#serve(now)
  }

  #wait(turn: Turn): void {
    const { line } = turn
    turn.state = 'waiting'
    turn.granted = new Promise<void>((resolve, reject) => {
      turn.grant = resolve
      turn.refuse = reject
    })
    turn.inLine = line.waiting.add(turn)
    turn.inAll = this.#waiting.add(turn)
    line.waitingCount += 1
    this.#waitingCount += 1
    if (line.waitingCount === 1) {
      this.#waitingLines += 1
      line.place = this.#rotations[this.#isSlow(line) ? 2 : line.held > 0 ? 1 : 0].add(line)
    }
    this.#cancelTimer ??= this.#clock.after(this.#maxWaitMs, this.#refuseLate)
  }

  /** Takes it out of all that waits. */
  #withdraw(turn: Turn): void {
    const { line } = turn
    turn.state = 'released'
    turn.inLine?.leave()
    turn.inAll?.leave()
    line.waitingCount -= 1
    this.#waitingCount -= 1
    if (line.waitingCount === 0) {
      this.#waitingLines -= 1
      line.place?.leave()
      line.place = undefined
    }
    if (this.#waitingCount > 0) return
    this.#cancelTimer?.()
    this.#cancelTimer = undefined
  }

  #refuse(turn: Turn, error: unknown): void {
    this.#withdraw(turn)
    this.#refused += 1
    turn.refuse(error)
  }

  readonly #refuseLate = (): void => {
    this.#cancelTimer = undefined
    const now = this.#clock.monotonic()
    for (let { first } = this.#waiting; first !== undefined; { first } = this.#waiting) {
      const restMs = first.value.since + this.#maxWaitMs - now
      if (restMs > 0) {
        this.#cancelTimer = this.#clock.after(restMs, this.#refuseLate)
        return
      }
      const error = this.#overloaded(first.value.line)
      this.#refuse(first.value, error)
    }
  }

  #serve(now: number): void {
    this.#age(now)
    while (this.#free > 0) {
      const line = this.#next()
      const turn = line?.waiting.first?.value
      if (line === undefined || turn === undefined) return
      this.#withdraw(turn)
      this.#hold(turn, now)
      if (line.waitingCount > 0) this.#goBehind(line)
      turn.grant()
    }
  }

  /** The user whose turn it is: of the next rotation in which somebody may hold a slot. */
  #next(): Line | undefined {
    for (let step = 1; step <= this.#rotations.length; step += 1) {
      const rotation = (this.#rotation + step) % this.#rotations.length
      const line = rotation === 2 ? this.#nextSlow() : this.#nextQuick(this.#rotations[rotation as 0 | 1])
      if (line === undefined) continue
      this.#rotation = rotation
      return line
    }
    return undefined
  }

  /** The next user who is not slow. A user who has become slow meanwhile moves to the rotation of slow users. */
  #nextQuick(rotation: Ring<Line>): Line | undefined {
    for (let { first } = rotation; first !== undefined; { first } = rotation) {
      if (!this.#isSlow(first.value)) return first.value
      this.#goBehind(first.value)
    }
    return undefined
  }

  /**
   * The next slow user who may hold another slot. A user who is no longer slow moves to the others. No more users than there
   * are slots can hold too much, which bounds the search.
   */
  #nextSlow(): Line | undefined {
    const rotation = this.#rotations[2]
    for (let looked = 0; looked <= this.#slots; looked += 1) {
      const line = rotation.first?.value
      if (line === undefined || this.#mayHold(line)) return line
      this.#goBehind(line)
    }
    return undefined
  }

  #goBehind(line: Line): void {
    line.place?.leave()
    line.place = this.#rotations[this.#isSlow(line) ? 2 : 1].add(line)
  }

  /** How long one more of this user would wait, about. */
  #waitOf(line: Line): number {
    const ahead = line.waitingCount + 1
    const quickMs = (ahead * this.#typicalMs * (this.#waitingLines + 1)) / this.#slots
    if (line.usualMs === undefined || !this.#isSlow(line)) return quickMs
    return Math.max(quickMs, (ahead * line.usualMs) / Math.max(1, line.slow))
  }

  #refusal(line: Line): LockstepError {
    this.#refused += 1
    return this.#overloaded(line)
  }

  #overloaded(line: Line): LockstepError {
    const retryAfterMs = Math.ceil(Math.min(longestRetryMs, Math.max(shortestRetryMs, this.#waitOf(line))))
    return new LockstepError('LS_NODE_OVERLOADED', { details: { retryAfterMs } })
  }
}

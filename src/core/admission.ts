import { Turn, type Line, type TurnHost } from './admission-line.ts'
import type { Clock } from './clock.ts'
import type { LockstepError } from './errors.ts'
import { KnownUsers } from './known-users.ts'
import { overloaded } from './overloaded.ts'
import { Ring } from './ring.ts'
import { UsualWork } from './usual-work.ts'
import { WaitingUsers } from './waiting-users.ts'

export type { Turn } from './admission-line.ts'

export interface AdmissionOptions {
  readonly clock: Clock
  /** Requests that may hold a slot at once: the connections of the pool. */
  readonly slots: number
  /** Requests that may be open at once, of all users. Default 10,000. */
  readonly maxOpen?: number | undefined
  /** Requests that one user may have open at once. Default 1,000. */
  readonly maxOpenPerUser?: number | undefined
  /** The longest wait for a slot, in milliseconds. Default 5,000. */
  readonly maxWaitMs?: number | undefined
}

/** A user who held no more than this, on average, lately, is light… */
const lightLoad = 0.2
/** … and hardly seen who held no more than this: one call on a machine that is busy, say. */
const hardlyAnyLoad = 0.04
/** A turn costs what turns do on average, unless it takes so many times as long: then it costs what it took. */
const muchLonger = 4
/** Divisor of the number of slots: the quotient is kept for users who hold none. */
const slotsForOneKept = 8

/**
 * Decides whose turn it is for one of few slots. A free slot is given at once. Where none is free, it goes to the user who
 * had the least, each with what they asked for first: whoever waits is given a tag, which begins at the tag served last, or
 * behind it by what the user's last work held, and the smallest tag is served (start-time fair queuing). A user who asks
 * now and then therefore waits for the next slot only, however many always want more. Work cannot be stopped once it
 * holds a slot: users whose work takes long get no more than half of the slots, all together, and of the last ones that are
 * free no user gets a second. What could not be served in time is refused when it is asked for.
 */
export class Admission implements TurnHost {
  readonly #clock: Clock
  readonly #slots: number
  /** Free slots that only users who hold none are given. */
  readonly #kept: number
  readonly #maxOpen: number
  readonly #maxOpenPerUser: number
  readonly #maxWaitMs: number
  readonly #users = new KnownUsers()
  /** Turns that hold a slot and do not count as slow, the oldest first. */
  readonly #running = new Ring<Turn>()
  /** Turns that wait for a slot, the oldest first. */
  readonly #waiting = new Ring<Turn>()
  readonly #waitingUsers: WaitingUsers
  readonly #usual = new UsualWork()
  /** The largest tag that was served. */
  #reached = 0
  #free: number
  #slowHeld = 0
  #open = 0
  #waitingCount = 0
  #waitingLines = 0
  #refused = 0
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
    this.#kept = Math.floor(slots / slotsForOneKept)
    this.#free = slots
    this.#maxOpen = maxOpen
    this.#maxOpenPerUser = maxOpenPerUser
    this.#maxWaitMs = maxWaitMs
    this.#waitingUsers = new WaitingUsers({
      isSlow: (line, now) => this.#usual.isSlow(line, now),
      mayHold: (line, now) => this.#mayHold(line, now),
      mostPassed: slots,
    })
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
    const line = this.#users.lineOf(userId, this.#usual.meanMs)
    const now = this.#clock.monotonic()
    this.#age(now)
    // A user may have as many open as are left for others, so users with many leave room to users with few.
    const most = Math.min(this.#maxOpenPerUser, this.#maxOpen - this.#open)
    if (line.open >= Math.max(1, most) || this.#open >= this.#maxOpen) throw this.#refusal(line, now)
    const isFree = this.#free > 0 && line.waitingCount === 0 && this.#mayHold(line, now)
    // Admit the first turn that a user waits for: it is served in turn, however long the others' queues are.
    if (!isFree && line.waitingCount > 0 && this.#waitOf(line, now) > this.#maxWaitMs)
      throw this.#refusal(line, now)
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

  /** Slots for slow work. */
  get #mostSlow(): number {
    return Math.ceil(this.#slots / 2)
  }

  /**
   * A slow user has about as many as are left for other slow ones. One that has held little lately, of whom a single call
   * may have been slow by chance, gets a first one while others are free, and one that is hardly seen the last one, too.
   */
  #mayHold(line: Line, now: number): boolean {
    if (!this.#usual.isSlow(line, now)) return line.held === 0 || this.#free > this.#kept
    if (this.#slowHeld < this.#mostSlow && line.slow <= this.#mostSlow - this.#slowHeld) return true
    return line.held === 0 && line.load(now) <= (this.#free > 1 ? lightLoad : hardlyAnyLoad)
  }

  /** Counts what has run for long as slow. */
  #age(now: number): void {
    const { slowFromMs } = this.#usual
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
    if (this.#usual.isSlow(line, now)) this.#countSlow(turn)
    else turn.running = this.#running.add(turn)
    const tag = line.nextTag(this.#reached, now)
    // Slow work has few slots, and is no measure of how far the others have come.
    if (!turn.isSlow) this.#reached = tag
    turn.paidMs = this.#usual.meanMs
    line.pay(tag, turn.paidMs, now)
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
    this.#usual.observe(line.observe(turn.since, now), heldMs, turn.isSlow)
    // Chance makes one user's work a little longer than another's, and is no reason to serve the one less often.
    if (heldMs > muchLonger * turn.paidMs) line.payMore(heldMs - turn.paidMs)
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
      this.#enqueue(line, turn.since)
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
    if (line.waitingCount === 0) this.#waitingLines -= 1
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
      const error = overloaded(this.#waitOf(first.value.line, now))
      this.#refuse(first.value, error)
    }
  }

  #serve(now: number): void {
    this.#age(now)
    while (this.#free > 0) {
      const line = this.#waitingUsers.next(now)
      const turn = line?.waiting.first?.value
      if (line === undefined || turn === undefined) return
      this.#withdraw(turn)
      this.#hold(turn, now)
      if (line.waitingCount > 0) this.#enqueue(line, now)
      turn.grant()
    }
  }

  #enqueue(line: Line, now: number): void {
    this.#waitingUsers.add(line, line.nextTag(this.#reached, now), now)
  }

  /** How long one more of this user would wait, about. */
  #waitOf(line: Line, now: number): number {
    const ahead = line.waitingCount + 1
    // Every other user may come between two turns of one, as long as they still wait.
    const before = Math.min(ahead * (this.#waitingLines + 1), this.#waitingCount + 1)
    const quickMs = (before * this.#usual.meanMs) / this.#slots
    if (!this.#usual.isSlow(line, now)) return quickMs
    const slots = Math.max(1, line.slow, Math.floor((line.slow + this.#mostSlow - this.#slowHeld) / 2))
    return Math.max(quickMs, (ahead * line.meanMs) / slots)
  }

  #refusal(line: Line, now: number): LockstepError {
    this.#refused += 1
    return overloaded(this.#waitOf(line, now))
  }
}

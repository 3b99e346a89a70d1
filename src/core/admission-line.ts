import { mutationPoint } from '../protocol/mutation-point.ts'
import { Ring, type RingEntry } from './ring.ts'

/** Distrust comes fast and trust slowly: how far an average follows work that took longer, and shorter. */
const upShare = 0.5
const downShare = 0.05
/** How far one turn moves a user's mean. */
const meanShare = 0.25
/** Milliseconds in which two thirds of what a user held is forgotten. */
const loadMs = 10_000

/** Requests of one user: those that wait, those that hold a slot, and how long they usually hold one. */
export class Line {
  /** Requests that have not ended: they wait, hold a slot, or are on the way to their outcome. */
  open = 0
  /** Slots held, those that count as slow included. */
  held = 0
  /** Slots held that count against the share of slow users. */
  slow = 0
  /** Slots held that were taken by work which looked quick, and is slow. */
  aged = 0
  waitingCount = 0
  /** Turns that wait, in the order in which they were asked for. */
  readonly waiting = new Ring<Turn>()
  /**
   * True while the user stands among those who wait. The place stays until it is looked at, also when no turn waits any
   * more.
   */
  isQueued = false
  /** Place among the users who wait, in milliseconds of slots held: the smaller is served first. */
  tag = 0
  /** Milliseconds that this user's work holds a slot, a weighted average; absent before any has ended. */
  usualMs: number | undefined
  /**
   * Plain mean of the user's turns, which begins with the node's: one long turn, as when the machine stands still,
   * changes it little.
   */
  meanMs: number
  /** Smallest value of the next tag, on the scale of tags, as of `#paidAt`. */
  #paid = 0
  #paidAt = 0
  /** Time at which a turn that took longer than usual ended last. */
  #raisedAt = -Infinity
  #load = 0
  #loadAt = 0

  constructor(meanMs: number) {
    this.meanMs = meanMs
  }

  /** Counts a slot that was held since then. @returns milliseconds that are usual from here on */
  observe(since: number, now: number): number {
    const heldMs = now - since
    this.#load = this.load(now) + heldMs / loadMs
    this.#loadAt = now
    this.meanMs += meanShare * (heldMs - this.meanMs)
    const usualMs = (this.usualMs ??= heldMs)
    if (heldMs <= usualMs) this.usualMs += downShare * (heldMs - usualMs)
    else if (since >= this.#raisedAt) {
      // Turns of the same moment are one reason for distrust, and not several.
      this.usualMs += upShare * (heldMs - usualMs)
      this.#raisedAt = now
    }
    return this.usualMs
  }

  /** Slots held on average, lately. */
  load(now: number): number {
    return this.#load === 0 ? 0 : this.#load * Math.exp((this.#loadAt - now) / loadMs)
  }

  /** Tag of this user's next turn when `reached` is the tag that was served last: behind it by what they had lately. */
  nextTag(reached: number, now: number): number {
    if (mutationPoint('no turns by user')) return this.waiting.first?.value.since ?? now
    const ahead = this.#paid - reached
    return ahead <= 0 ? reached : reached + ahead * Math.exp((this.#paidAt - now) / loadMs)
  }

  /** Counts milliseconds of a slot from the given tag on. */
  pay(tag: number, ms: number, now: number): void {
    this.#paid = tag + ms
    this.#paidAt = now
  }

  /** Counts milliseconds for which a slot was held longer. */
  payMore(ms: number): void {
    this.#paid += ms
  }
}

/** Methods of the admission that a turn calls. */
export interface TurnHost {
  release(turn: Turn): void
  end(turn: Turn): void
}

/** A place at the gate, from the question to its end. */
export class Turn {
  readonly line: Line
  readonly #host: TurnHost
  /** Settles when the slot is there; absent where it was there at once. @throws LS_NODE_OVERLOADED, LS_NODE_STOPPING */
  granted: Promise<void> | undefined
  state: 'waiting' | 'held' | 'released' | 'ended' = 'held'
  /** Time at which it began to wait, then at which it was granted, in monotonic milliseconds. */
  since: number
  isSlow = false
  hasAged = false
  /** Milliseconds that were counted for it when it was granted. */
  paidMs = 0
  /** Entry among all that hold a slot; absent for a turn that counts as slow. */
  running: RingEntry<Turn> | undefined
  /** Entries among the turns that wait, of this user and of all. */
  inLine: RingEntry<Turn> | undefined
  inAll: RingEntry<Turn> | undefined
  grant: () => void = () => {}
  refuse: (error: unknown) => void = () => {}

  constructor(host: TurnHost, line: Line, since: number) {
    this.#host = host
    this.line = line
    this.since = since
  }

  /** Gives the slot back. Does nothing the second time, and after `end`. */
  release(): void {
    this.#host.release(this)
  }

  /** Gives the slot back if it is still held; from here on the user has one less open. */
  end(): void {
    this.#host.end(this)
  }
}

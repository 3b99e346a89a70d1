import { Ring, type RingEntry } from './ring.ts'

/** Distrust comes fast and trust slowly: how far an average follows work that took longer, and shorter. */
const upShare = 0.5
const downShare = 0.05
/** Milliseconds in which two thirds of what a user held is forgotten. */
const loadMs = 10_000

/** One user at the gate: what waits, what is held, and how long they usually hold a slot. */
export class Line {
  /** What was asked for and has not ended: it waits, holds a slot, or is on the way to its outcome. */
  open = 0
  /** Slots held, those that count as slow included. */
  held = 0
  /** Slots held that count against the share of slow users. */
  slow = 0
  /** Slots held that were taken by work which looked quick, and is slow. */
  aged = 0
  waitingCount = 0
  /** In the order in which it was asked for. */
  readonly waiting = new Ring<Turn>()
  /** The place in a rotation; absent while nothing waits. */
  place: RingEntry<Line> | undefined
  /** Milliseconds that this user's work holds a slot, a weighted average; absent before any has ended. */
  usualMs: number | undefined
  #load = 0
  #loadAt = 0

  observe(heldMs: number, now: number): void {
    const usualMs = this.usualMs ?? heldMs
    this.usualMs = usualMs + (heldMs > usualMs ? upShare : downShare) * (heldMs - usualMs)
    this.#load = this.load(now) + heldMs / loadMs
    this.#loadAt = now
  }

  /** Slots held on average, lately. */
  load(now: number): number {
    return this.#load === 0 ? 0 : this.#load * Math.exp((this.#loadAt - now) / loadMs)
  }
}

/** What a turn needs of the gate it was given at. */
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
  /** When it began to wait, then when it was granted, in monotonic milliseconds. */
  since: number
  isSlow = false
  hasAged = false
  /** Among all that hold a slot; absent for what counts as slow. */
  running: RingEntry<Turn> | undefined
  /** Among what waits, of this user and of all. */
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

export type LeaseState = 'starting' | 'held' | 'unsure' | 'lost' | 'released'

/** A question to the database about the lease, on its way. Times are monotonic milliseconds. */
export interface LeaseQuestion {
  readonly node: string
  readonly askedAt: number
}

/** Meaning of an answer about the lease. */
export type LeaseStep =
  /** The lease holds from when the question was asked. */
  | 'holds'
  /** The lease ran out: the node takes a new one, under a new id. */
  | 'isLost'
  /** A later answer has arrived first, or the lease was given back meanwhile. */
  | 'isOutdated'

/**
 * Decides what a node may take its lease for. Pure: it is told what was asked, when, and what came back; `NodeLease` asks.
 * A renewal counts from when it was asked for, since the database may have carried it out at once.
 */
export class LeaseTerm {
  readonly #leaseMs: number
  #node: string
  #state: Exclude<LeaseState, 'unsure'> = 'starting'
  #renewedAt = 0

  /** @param node the id under which the first lease is going to be taken, or a placeholder for it */
  constructor(node: string, leaseMs: number) {
    this.#node = node
    this.#leaseMs = leaseMs
  }

  /** The id under which operations started from now on are this node's. */
  get node(): string {
    return this.#node
  }

  stateAt(nowMs: number): LeaseState {
    return this.#state === 'held' && nowMs - this.#renewedAt > this.#leaseMs ? 'unsure' : this.#state
  }

  /** Whether a lease was taken and is not known to be lost: a new one that comes now runs out unused. */
  get isHeld(): boolean {
    return this.#state === 'held'
  }

  /** Whether the lease is known to be lost: a new one is to be taken instead of a renewal. */
  get isLost(): boolean {
    return this.#state === 'lost'
  }

  get isStarting(): boolean {
    return this.#state === 'starting'
  }

  /** @param isThere false: the database knows of no such lease that has not run out */
  renewed({ node, askedAt }: LeaseQuestion, isThere: boolean): LeaseStep {
    // Ignore the answer where a later one came first.
    if (node !== this.#node || askedAt < this.#renewedAt) return 'isOutdated'
    if (isThere) return 'holds'
    // Ignore the answer for a lease that was given back meanwhile, or is known to be lost and being replaced.
    if (this.#state !== 'held') return 'isOutdated'
    this.#state = 'lost'
    return 'isLost'
  }

  /** The history of the renewal is the one that is served: from here on it counts. */
  extend(askedAt: number): void {
    this.#renewedAt = askedAt
  }

  /** A new lease was taken. */
  registered({ node, askedAt }: LeaseQuestion): void {
    this.#node = node
    this.#renewedAt = askedAt
    if (this.#state !== 'released') this.#state = 'held'
  }

  /** @returns whether there is a lease to give back */
  release(): boolean {
    const had = this.#state === 'held' || this.#state === 'lost'
    this.#state = 'released'
    return had
  }
}

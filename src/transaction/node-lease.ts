import { randomUUID } from 'node:crypto'
import { faultPoint } from '../core/fault-point.ts'
import {
  ClockAlignment,
  messageOf,
  momentOf,
  type Clock,
  type DatabaseClock,
  type Logger,
  type Moment,
  type Queryable,
} from '../core/index.ts'
import { forgetNodes, registerNode, releaseLease, renewLease, type LeaseRow } from '../postgres/index.ts'
import type { EpochWatch } from './epoch-watch.ts'

export interface NodeLeaseOptions {
  readonly own: Queryable
  readonly schema: string
  readonly clock: Clock
  readonly logger: Logger
  /** Each renewal asks whether the history is still the same. */
  readonly epochs: EpochWatch
  /** Default 1,000. */
  readonly renewMs?: number
  /** How long the lease lives without renewal, by the database's clock. Default 3,000. */
  readonly leaseMs?: number
}

export type LeaseState = 'starting' | 'held' | 'unsure' | 'lost' | 'released'

/**
 * This process's claim to be alive. While it holds, no other node settles its operations. It is `lost` when the
 * database says that it ran out: the node takes no work until it has a new one, under a new id. It is `unsure`
 * while it could not be renewed for as long as it lives: the database is away, so every operation rolls back and
 * its user is told at once; or this process was stopped, and others may settle what it starts now. Either way the
 * outcome row decides.
 */
export class NodeLease {
  readonly #options: NodeLeaseOptions
  readonly #alignment = new ClockAlignment()
  readonly #leaseMs: number
  readonly #renewMs: number
  #node: string = randomUUID()
  #state: LeaseState = 'starting'
  #renewedAt = 0
  /** When renewals were due: the last time, and the time before. */
  #due: { readonly last: Moment; readonly before: Moment } | undefined
  #cancelTimer: (() => void) | undefined
  /** Settles when no renewal is under way. */
  #renewing: Promise<void> = Promise.resolve()
  #underWay = 0

  constructor(options: NodeLeaseOptions) {
    this.#options = options
    this.#leaseMs = options.leaseMs ?? 3_000
    this.#renewMs = options.renewMs ?? 1_000
  }

  /** The id under which operations started from now on are this node's. */
  get node(): string {
    return this.#node
  }

  /** As good as the round trips of the renewals. */
  get databaseClock(): DatabaseClock {
    return this.#alignment
  }

  get state(): LeaseState {
    const age = this.#options.clock.monotonic() - this.#renewedAt
    return this.#state === 'held' && age > this.#leaseMs ? 'unsure' : this.#state
  }

  /**
   * A time at which this process ran, one renewal ago or more. A call that is read now may have lain in a socket since
   * then, if the process stood still: the latest time alone would not show that, as timers run before sockets are read.
   */
  get wasAlive(): Moment {
    return this.#due?.before ?? momentOf(this.#options.clock)
  }

  /** Once: a node that could not start, and tries again, has its lease. @throws database errors */
  async start(): Promise<void> {
    if (this.#state !== 'starting') return
    const { own, schema } = this.#options
    await own.query(forgetNodes(schema))
    await this.#register()
    this.#schedule()
  }

  /** Ends the lease, so that nobody needs to wait for it to run out. */
  async release(): Promise<void> {
    const before = this.#state
    this.#state = 'released'
    if (before === 'starting' || before === 'released') return
    this.#cancelTimer?.()
    await this.#renewing
    await this.#options.own.query(releaseLease(this.#options.schema, this.#node))
  }

  #schedule(): void {
    if (this.#state === 'released') return
    const now = momentOf(this.#options.clock)
    this.#due = { last: now, before: this.#due?.last ?? now }
    this.#cancelTimer = this.#options.clock.after(this.#renewMs, () => {
      // One that is not answered may have met a connection that broke in silence; the next goes over another one.
      if (this.#underWay < 2) this.#renewing = this.#renewBeside(this.#renewing)
      this.#schedule()
    })
  }

  async #renewBeside(other: Promise<void>): Promise<void> {
    await Promise.all([other, this.#renew()])
  }

  async #renew(): Promise<void> {
    const { own, schema, clock, logger, epochs } = this.#options
    this.#underWay += 1
    try {
      await faultPoint('lease.before-renew')
      if (this.#state === 'lost') return await this.#registerAgain()
      const node = this.#node
      const askedAt = clock.monotonic()
      const { epoch: known } = epochs
      const { rows } = await own.query<LeaseRow>(renewLease(schema, node, this.#leaseMs))
      // A later one was answered first.
      if (node !== this.#node || askedAt < this.#renewedAt) return
      if (rows[0] === undefined) {
        // Given back while this was under way: then it is nobody's any more. Or lost: then the other takes a new one.
        if (this.#state !== 'held') return
        this.#state = 'lost'
        logger.error({ node: this.#node }, 'the node lost its lease: others settle its open operations')
        return await this.#registerAgain()
      }
      // A renewal in a history that was left is none: the node takes no work there.
      epochs.heard(rows[0].epoch, known)
      this.#renewedAt = askedAt
      this.#alignment.observe(askedAt, clock.monotonic(), rows[0].now_ms)
      await this.#compareHistory(rows[0])
    } catch (error) {
      logger.warn({ node: this.#node, error: messageOf(error) }, 'the lease was not renewed')
    } finally {
      this.#underWay -= 1
    }
  }

  async #compareHistory(row: LeaseRow): Promise<void> {
    const { own, epochs } = this.#options
    const renewals = Number(row.renewals)
    // Another history has come meanwhile, and does not count the renewals of the one before.
    if (row.epoch !== epochs.epoch) return
    if (row.is_other || renewals <= epochs.renewalsOf(this.#node)) await epochs.admit(own)
    else epochs.leaseRenewed({ node: this.#node, renewals, atMs: row.now_ms })
  }

  /** What was begun under the lost lease stays under it; whoever comes now need not wait for the next renewal. */
  async #registerAgain(): Promise<void> {
    // A lease may be gone because the history is another, which knows nothing of it.
    await this.#options.epochs.admit(this.#options.own)
    await this.#register()
    this.#options.logger.info({ node: this.#node }, 'the node has a new lease and takes work again')
  }

  async #register(): Promise<void> {
    const { own, schema, clock, epochs } = this.#options
    const node = randomUUID()
    const askedAt = clock.monotonic()
    const { epoch: known } = epochs
    const { rows } = await own.query<LeaseRow>(registerNode(schema, node, this.#leaseMs))
    // Another renewal came first; this one runs out unused.
    if (this.#state === 'held') return
    if (rows[0] !== undefined) epochs.heard(rows[0].epoch, known)
    this.#node = node
    this.#renewedAt = askedAt
    if (rows[0] !== undefined) {
      this.#alignment.observe(askedAt, clock.monotonic(), rows[0].now_ms)
      if (rows[0].epoch === epochs.epoch) epochs.leaseRenewed({ node, renewals: 0, atMs: rows[0].now_ms })
    }
    if (this.#state !== 'released') this.#state = 'held'
  }
}

import { mutationPoint } from '../protocol/mutation-point.ts'
import { randomUUID } from 'node:crypto'
import { faultPoint } from '../core/fault-point.ts'
import {
  ClockAlignment,
  messageOf,
  momentOf,
  Repeat,
  type Clock,
  type DatabaseClock,
  type Logger,
  type Moment,
  type Queryable,
} from '../core/index.ts'
import {
  forgetNodes,
  registerNode,
  releaseLease,
  renewLease,
  type LeaseRow,
  type OwnedRun,
} from '../postgres/index.ts'
import type { EpochWatch } from './epoch-watch.ts'
import { LeaseTerm, type LeaseQuestion, type LeaseState } from './lease-term.ts'

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

/** Answer to a renewal: the runs of the lease, as they stood after it was asked for. */
export interface Renewal extends LeaseQuestion {
  readonly runs: readonly OwnedRun[]
}

/**
 * Claim of this process to be alive. While the lease holds, no other node settles its operations. A lease is `lost`
 * when the database says that it ran out: the node takes no work until it has a new one, under a new id. A lease is
 * `unsure` when it could not be renewed for its whole duration. Either the database is away, so every operation rolls
 * back and its user is notified at once; or this process was stopped, and others may settle the operations it starts
 * now. The outcome row decides in both cases. `LeaseTerm` decides between these states; this class asks the database.
 */
export class NodeLease {
  readonly #own: Queryable
  readonly #schema: string
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #epochs: EpochWatch
  readonly #alignment = new ClockAlignment()
  readonly #leaseMs: number
  readonly #term: LeaseTerm
  /** Times at which renewals were due: the last one, and the one before. */
  #due: { readonly last: Moment; readonly before: Moment } | undefined
  readonly #renewals: Repeat
  /** Settles when no renewal is under way. */
  #renewing: Promise<void> = Promise.resolve()
  #underWay = 0
  readonly #listeners: ((renewal: Renewal) => void)[] = []

  constructor(options: NodeLeaseOptions) {
    this.#own = options.own
    this.#schema = options.schema
    this.#clock = options.clock
    this.#logger = options.logger
    this.#epochs = options.epochs
    this.#leaseMs = options.leaseMs ?? 3_000
    this.#term = new LeaseTerm(randomUUID(), this.#leaseMs)
    const { clock, logger, renewMs = 1_000 } = options
    this.#renewals = new Repeat({
      clock,
      everyMs: renewMs,
      work: () => this.#renewBesideOthers(),
      onError: (error) => logger.error({ error }, 'a renewal of the lease broke'),
    })
  }

  /** The id under which operations started from now on are this node's. */
  get node(): string {
    return this.#term.node
  }

  /** Database's clock, as exact as the round trips of the renewals. */
  get databaseClock(): DatabaseClock {
    return this.#alignment
  }

  get state(): LeaseState {
    return this.#term.stateAt(this.#clock.monotonic())
  }

  /**
   * A time at which this process ran, one renewal ago or more. A call that is read now may have lain in a socket since
   * then, if the process stood still: the latest time alone would not show that, as timers run before sockets are read.
   */
  get wasAlive(): Moment {
    return this.#due?.before ?? momentOf(this.#clock)
  }

  /** Adds a listener, called with what each renewal has told of the runs of the lease. */
  onRenewed(heard: (renewal: Renewal) => void): void {
    this.#listeners.push(heard)
  }

  /** Takes the lease, once: a node that could not start, and tries again, has its lease. @throws database errors */
  async start(): Promise<void> {
    if (!this.#term.isStarting) return
    await this.#own.query(forgetNodes(this.#schema))
    await this.#register()
    this.#noteAlive()
    this.#renewals.start()
  }

  /** Ends the lease, so that nobody needs to wait for it to run out. */
  async release(): Promise<void> {
    if (!this.#term.release()) return
    this.#renewals.stop()
    await this.#renewing
    await this.#own.query(releaseLease(this.#schema, this.node))
  }

  /**
   * Begins a renewal and does not wait for it: the connection of an earlier one that is not answered may have broken in
   * silence, and the next renewal goes over another connection.
   */
  #renewBesideOthers(): void {
    if (this.#underWay < 2) this.#renewing = this.#renewBeside(this.#renewing)
    this.#noteAlive()
  }

  async #renewBeside(other: Promise<void>): Promise<void> {
    await Promise.all([other, this.#renew()])
  }

  /** Notes that the process ran now, one renewal before the next. */
  #noteAlive(): void {
    const now = momentOf(this.#clock)
    this.#due = { last: now, before: this.#due?.last ?? now }
  }

  async #renew(): Promise<void> {
    this.#underWay += 1
    try {
      await faultPoint('lease.before-renew')
      if (this.#term.isLost) return await this.#registerAgain()
      const question: LeaseQuestion = { node: this.node, askedAt: this.#clock.monotonic() }
      const { epoch: known } = this.#epochs
      const { rows } = await this.#own.query<LeaseRow>(renewLease(this.#schema, question.node, this.#leaseMs))
      const [row] = rows
      const step = this.#term.renewed(question, row !== undefined)
      if (step === 'isLost') {
        this.#logger.error({ node: this.node }, 'the node lost its lease: others settle its open operations')
        return await this.#registerAgain()
      }
      if (step === 'isOutdated' || row === undefined) return
      // A renewal in a history that was left is none: the node takes no work there.
      this.#epochs.heard(row.epoch, known)
      this.#term.extend(
        mutationPoint('renewal counted from its answer') ? this.#clock.monotonic() : question.askedAt,
      )
      this.#alignment.observe(question.askedAt, this.#clock.monotonic(), row.now_ms)
      await this.#compareHistory(row)
      const renewal = { ...question, runs: row.open_runs ?? [] }
      for (const heard of this.#listeners) heard(renewal)
    } catch (error) {
      this.#logger.warn({ node: this.node, error: messageOf(error) }, 'the lease was not renewed')
    } finally {
      this.#underWay -= 1
    }
  }

  async #compareHistory(row: LeaseRow): Promise<void> {
    const renewals = Number(row.renewals)
    // Stop where the history has changed meanwhile: it does not count the renewals of the one before.
    if (row.epoch !== this.#epochs.epoch) return
    if (row.is_other || renewals <= this.#epochs.renewalsOf(this.node)) await this.#epochs.admit(this.#own)
    else this.#epochs.leaseRenewed({ node: this.node, renewals, atMs: row.now_ms })
  }

  /**
   * Takes a new lease at once, so that new work need not wait for the next renewal; open operations keep the lost one.
   */
  async #registerAgain(): Promise<void> {
    if (mutationPoint('lease lost and not taken again')) return
    // A lease may be gone because the history is another, which knows nothing of it.
    await this.#epochs.admit(this.#own)
    await this.#register()
    this.#logger.info({ node: this.node }, 'the node has a new lease and takes work again')
  }

  async #register(): Promise<void> {
    const node = randomUUID()
    const askedAt = this.#clock.monotonic()
    const { epoch: known } = this.#epochs
    const { rows } = await this.#own.query<LeaseRow>(registerNode(this.#schema, node, this.#leaseMs))
    // Drop the new lease when another renewal came first: it runs out unused.
    if (this.#term.isHeld) return
    if (rows[0] !== undefined) this.#epochs.heard(rows[0].epoch, known)
    this.#term.registered({ node, askedAt })
    if (rows[0] !== undefined) {
      this.#alignment.observe(askedAt, this.#clock.monotonic(), rows[0].now_ms)
      if (rows[0].epoch === this.#epochs.epoch)
        this.#epochs.leaseRenewed({ node, renewals: 0, atMs: rows[0].now_ms })
    }
  }
}

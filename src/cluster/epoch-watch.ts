import { mutationPoint } from '../protocol/mutation-point.ts'
import { faultPoint } from '../core/fault-point.ts'
import {
  detach,
  LockstepError,
  isLockstepError,
  messageOf,
  type Clock,
  type HistoryGate,
  type Logger,
  type Queryable,
} from '../core/index.ts'
import { pastEpochs, readHistory, renewEpoch, type HistoryRow } from '../postgres/index.ts'

export interface EpochWatchOptions {
  readonly own: Queryable
  readonly schema: string
  readonly clock: Clock
  readonly logger: Logger
}

/** A change of the history that this node serves. */
export interface HistoryChange {
  readonly from: string
  readonly to: string
  readonly reason: string
  /** ISO 8601. */
  readonly at: string
}

/** How often a lease was renewed, as far as its node was answered. */
export interface LeaseMark {
  readonly node: string
  readonly renewals: number
  /** Time of the database's answer, by its own clock, in milliseconds of Unix time. */
  readonly atMs: number
}

/** A lease that ran out so long ago may have been deleted (`forgetNodes`), in milliseconds. */
const leaseKeptMs = 24 * 60 * 60 * 1_000

/** Epochs that a node remembers as left. One more comes with each failover. */
const mostLeft = 1_000

const renewedElsewhere = 'the epoch was renewed'

/**
 * Knows which history of the database this node serves, and finds out when it is another: at each connection before its
 * first use, at each renewal of the lease, and by what the feeds have seen. The node that finds it out first renews the
 * epoch, by compare-and-set, so that all nodes go on in the same one. No node goes back to an epoch that it has left, or
 * that the database had left before this node came.
 */
export class EpochWatch implements HistoryGate {
  readonly #own: Queryable
  readonly #schema: string
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #listeners: ((change: HistoryChange) => void)[] = []
  readonly #left = new Set<string>()
  #epoch = ''
  #mark: LeaseMark | undefined
  #lastChange: HistoryChange | undefined
  #isRenewing = false

  constructor(options: EpochWatchOptions) {
    this.#own = options.own
    this.#schema = options.schema
    this.#clock = options.clock
    this.#logger = options.logger
  }

  get epoch(): string {
    return this.#epoch
  }

  get lastChange(): HistoryChange | undefined {
    return this.#lastChange
  }

  /**
   * Adds a listener, called in the turn of the loop in which the epoch changes: nothing of the old history comes in
   * between.
   */
  onChange(changed: (change: HistoryChange) => void): void {
    this.#listeners.push(changed)
  }

  /** @throws LS_DATABASE_UNREACHABLE for a standby and for a history that was left, and database errors */
  async admit(connection: Queryable): Promise<string> {
    const [known, mark] = [this.#epoch, this.#mark]
    let row: HistoryRow | undefined
    try {
      const { rows } = await connection.query<HistoryRow>(readHistory(this.#schema, mark?.node ?? null))
      row = rows[0]
    } catch (error) {
      // A role that may not read the schema cannot tell; what it is used for cannot write there, either.
      if (isLockstepError(error, 'LS_DATABASE_RIGHTS')) return known
      throw error
    }
    if (row === undefined) throw new LockstepError('LS_CONNECTION_LOST')
    if (row.is_standby === 'true') {
      throw new LockstepError('LS_DATABASE_UNREACHABLE', {
        message: 'The server is a standby: it takes no writes until it is promoted.',
      })
    }
    const reason = reasonOf(row, known, mark)
    const isOther = reason !== undefined
    const epoch = isOther ? await this.#renew(connection, row.epoch) : row.epoch
    this.#learn(epoch, known, reason ?? renewedElsewhere)
    if (epoch === this.#epoch) this.#leave(...pastEpochs(row), ...(isOther ? [row.epoch] : []))
    return epoch
  }

  /**
   * An answer of the database named its epoch.
   * @param known the epoch of this node when it asked: an answer to an older question says nothing
   * @throws LS_DATABASE_UNREACHABLE for an epoch that was left
   */
  heard(epoch: string, known: string): void {
    this.#learn(epoch, known, renewedElsewhere)
  }

  /** The lease of this node was renewed, in the history that is served. */
  leaseRenewed(mark: LeaseMark): void {
    this.#mark = mark
  }

  /** How often that lease was renewed, as far as is known; -1 where nothing is. */
  renewalsOf(node: string): number {
    return this.#mark?.node === node ? this.#mark.renewals : -1
  }

  /** Renews the epoch, because the log lacks events that this node has already seen. */
  replaced(reason: string): void {
    if (this.#isRenewing) return
    this.#isRenewing = true
    const replaced = this.#replace(reason).finally(() => {
      this.#isRenewing = false
    })
    detach(replaced, this.#logger, 'the renewal of the epoch')
  }

  async #replace(reason: string): Promise<void> {
    const known = this.#epoch
    try {
      this.#learn(await this.#renew(this.#own, known), known, reason)
    } catch (error) {
      // The feed that saw the other history sees it again at its next comparison, and calls again.
      this.#logger.warn(
        { epoch: known, reason, error: messageOf(error) },
        'the epoch was not renewed this time',
      )
    }
  }

  /** @returns the epoch that stands now, whoever renewed it */
  async #renew(connection: Queryable, expected: string): Promise<string> {
    await faultPoint('history.before-renew')
    const { rows } = await connection.query<{ epoch: string }>(renewEpoch(this.#schema, expected))
    await faultPoint('history.after-renew')
    return rows[0]?.epoch ?? expected
  }

  #learn(epoch: string, known: string, reason: string): void {
    if (epoch === this.#epoch || known !== this.#epoch) return
    if (this.#left.has(epoch)) throw leftError(epoch, known)
    this.#epoch = epoch
    if (known === '') return
    this.#leave(known)
    // The mark counts renewals in the history before, which say nothing of this one.
    this.#mark = undefined
    const change = { from: known, to: epoch, reason, at: new Date(this.#clock.now()).toISOString() }
    this.#lastChange = change
    this.#logger.error(
      { ...change },
      'the database has another history than before: subscribers are asked to reload',
    )
    for (const changed of this.#listeners) changed(change)
  }

  #leave(...epochs: readonly string[]): void {
    for (const epoch of epochs) if (epoch !== this.#epoch) this.#left.add(epoch)
    for (const oldest of this.#left) {
      if (this.#left.size <= mostLeft) return
      this.#left.delete(oldest)
    }
  }
}

/**
 * The old primary, reached by a name that still leads there, or a backup with the epoch of its day. Nothing tells the one
 * from the other, so the operator does.
 */
function leftError(epoch: string, current: string): LockstepError {
  return new LockstepError('LS_DATABASE_UNREACHABLE', {
    message:
      `The server holds the epoch ${epoch}, which was left before ${current}. If it is an old primary, stop it, or keep ` +
      'connections from it. If it is the database from now on (a restored backup, say), run `lockstep epoch renew` on it.',
  })
}

/**
 * Reason why the server does not hold the history that the epoch names; undefined when it does, as far as can be told.
 */
function reasonOf(row: HistoryRow, known: string, mark: LeaseMark | undefined): string | undefined {
  if (row.is_other === 'true' && !mutationPoint('another server unnoticed'))
    return 'the server is another one, or was promoted'
  if (mutationPoint('renewals that are gone unnoticed')) return undefined
  // Skip the comparison when another node was first: the lease may be one of the new history by now.
  if (mark === undefined || row.epoch !== known) return undefined
  if (row.renewals === null && Number(row.now_ms) - mark.atMs >= leaseKeptMs) return undefined
  if (row.renewals !== null && Number(row.renewals) >= mark.renewals) return undefined
  return 'renewals of the lease of this node are gone'
}

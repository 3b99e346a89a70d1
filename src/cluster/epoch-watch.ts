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
import { leftError, reasonOf, type LeaseMark } from './history-rules.ts'

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

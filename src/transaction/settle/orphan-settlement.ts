import { faultPoint } from '../../core/fault-point.ts'
import {
  messageOf,
  noOffsets,
  type Clock,
  type Logger,
  type Probe,
  type Queryable,
} from '../../core/index.ts'
import { forgetOrphans, readOrphans, type OperationKey, type OrphanRow } from '../../postgres/index.ts'
import type { Notice } from '../../protocol/index.ts'
import { longestBatch } from './channel-trouble.ts'
import type { Settlement } from './outcome-search.ts'
import type { Settler } from './settlement.ts'

/** A round over operations that dead nodes left open. */
export interface OrphanRound {
  readonly noticeFor: (key: OperationKey) => Notice
  /** Operations at most. */
  readonly limit: number
  /** Leases whose operations are brought to their outcome by somebody else. */
  readonly except?: readonly string[]
  /**
   * Asks, before each batch and before another try, whether to stop; true leaves the rest to another node, or to the
   * next start.
   */
  readonly isStopping?: () => boolean
}

export interface OrphanSettlementOptions {
  readonly settler: Settler
  readonly own: Queryable
  readonly schema: string
  readonly clock: Clock
  readonly logger: Logger
  readonly probe: Probe
}

/** Finds the operations that dead nodes left open, and brings them to their outcome. */
export class OrphanSettlement {
  readonly #settler: Settler
  readonly #own: Queryable
  readonly #schema: string
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #probe: Probe

  constructor({ settler, own, schema, clock, logger, probe }: OrphanSettlementOptions) {
    this.#settler = settler
    this.#own = own
    this.#schema = schema
    this.#clock = clock
    this.#logger = logger
    this.#probe = probe
  }

  /**
   * Settles what dead nodes left open, then removes their intents, as far as every operation they name has its outcome.
   * @returns how many operations were settled, and slots without any found
   */
  async settleAll({ noticeFor, limit, except = [], isStopping = () => false }: OrphanRound): Promise<number> {
    const { rows } = await this.#own.query<OrphanRow>(readOrphans(this.#schema, limit, except))
    let done = 0
    for (let from = 0; from < rows.length; from += longestBatch) {
      if (isStopping()) return done
      const batch = rows.slice(from, from + longestBatch)
      const open = batch.filter(isOpen)
      const ends = await Promise.all(open.map((row) => this.#settle(row, noticeFor(row), isStopping)))
      done += batch.length - open.length + ends.filter(Boolean).length
    }
    if (rows.length > 0) {
      await faultPoint('settlement.before-forget')
      await this.#own.query(forgetOrphans(this.#schema))
      await faultPoint('settlement.after-forget')
    }
    return done
  }

  async #settle(key: OperationKey, notice: Notice, isStopping: () => boolean): Promise<boolean> {
    try {
      const settled = await this.#settler.settle(key, notice, 'enforce', { isOrphan: true, isStopping })
      this.#logger.warn(
        { operationId: key.id, operation: key.name, node: key.node, state: settled.state },
        'an operation of a dead node was settled',
      )
      this.#report(key, settled)
      return true
    } catch (error) {
      // Leave the operation for the next round: its COMMIT may still be in flight in a backend that lives on.
      this.#logger.warn(
        { operationId: key.id, error: messageOf(error) },
        'an orphan was not settled this time',
      )
      return false
    }
  }

  /** Reports a settled orphan, except a committed one: the time of its commit is not known, so it is not measured. */
  #report(key: OperationKey, settled: Settlement): void {
    if (!this.#probe.isOn || settled.state === 'committed' || settled.wasDecidedBefore === true) return
    const now = this.#clock.monotonic()
    this.#probe.ended({
      operationId: key.id,
      operation: key.name,
      userId: key.userId,
      mode: 'enforce',
      outcome: 'rolled_back',
      beganAt: now,
      endedAt: now,
      offsets: noOffsets,
      isNotified: true,
    })
  }
}

function isOpen(row: OrphanRow): row is OrphanRow & OperationKey {
  return row.id !== null
}
